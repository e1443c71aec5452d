"""How far a device may stay behind what was measured before a version goes back."""

from collections.abc import Iterable
from typing import Final

import msgspec

from skerry_controller.errors import UsageError

_MOST: Final = 1000.0


class Margins(msgspec.Struct, frozen=True, kw_only=True):
    """In percent.

    Attributes:
        speed: Below the least speed that was measured. Devices are warm, busy, and vary.
        first_token: Above the largest time to the first token.
        memory: Above what a runner needs.
        perplexity: Above that of the version that serves.
    """

    speed: float = 40.0
    first_token: float = 200.0
    memory: float = 25.0
    perplexity: float = 5.0


def parse_margins(texts: Iterable[str]) -> Margins:
    """Margins of ``speed=30``, ``perplexity=10%``; what is not named stays as usual.

    Raises:
        UsageError: One has another form or is out of bounds.
    """
    found: dict[str, float] = {}
    names = [name.replace("_", "-") for name in Margins.__struct_fields__]
    for text in texts:
        name, _, value = text.partition("=")
        try:
            percent = float(value.strip().removesuffix("%"))
        except ValueError:
            percent = -1.0
        if name.strip() not in names or not 0 <= percent <= _MOST:
            raise UsageError(f"{text!r} is no margin: write NAME=PERCENT, the name one of {', '.join(names)}")
        found[name.strip().replace("-", "_")] = percent
    margins = Margins(**found)
    if margins.speed >= 100:  # noqa: PLR2004 - percent
        raise UsageError("a margin for speed of 100 % asks for nothing: stay below it")
    return margins

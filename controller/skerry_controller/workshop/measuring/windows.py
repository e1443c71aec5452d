"""How a text is cut for scoring: llama.cpp's method for perplexity. Pure.

The text's tokens are cut into windows that do not overlap; of each only the second half is scored, so that
every scored token has at least half a window before it. Where the model has a begin token, it stands in place
of a window's first token. A rest that fills no window is left out.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from skerry_controller.errors import UsageError

MIN_WINDOW_TOKENS: Final = 16
_Z: Final = 1.96


class Window(NamedTuple):
    """Tokens to read, and the first position whose next token is scored."""

    tokens: tuple[int, ...]
    scored_from: int


class Estimate(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def cut_windows(
    tokens: Sequence[int], size: int, *, begin: int | None, most: int | None = None
) -> list[Window]:
    """Cut a text.

    Args:
        tokens: Of the whole text, without special ones.
        size: Tokens of a window.
        begin: The model's begin token, if it wants one.
        most: No more windows than that.

    Raises:
        UsageError: The text fills no window.
    """
    if size < MIN_WINDOW_TOKENS or len(tokens) < size:
        raise UsageError(f"the text has {len(tokens)} tokens: it fills no window of {size}")
    windows = []
    for start in range(0, len(tokens) - size + 1, size):
        window = tuple(tokens[start : start + size])
        windows.append(Window(window if begin is None else (begin, *window[1:]), size // 2))
    return windows[:most]


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of independent values, and its 95 % interval by the normal approximation."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:  # noqa: PLR2004 - a variance needs two
        return Estimate(mean, mean, mean)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    error = _Z * math.sqrt(variance / len(values))
    return Estimate(mean, mean - error, mean + error)


def estimate_share(some: int, count: int) -> Estimate:
    """A share of a count, and its 95 % interval (Wilson's)."""
    share = some / count
    middle = share + _Z * _Z / (2 * count)
    wide = _Z * math.sqrt(share * (1 - share) / count + _Z * _Z / (4 * count * count))
    scale = 1 + _Z * _Z / count
    return Estimate(share, (middle - wide) / scale, (middle + wide) / scale)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

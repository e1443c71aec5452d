"""Durations as people write them: ``90s``, ``30m``, ``24h``, ``7d``."""

import re

from skerry_protocol.errors import NameSyntaxError

_FORM = re.compile(r"(\d{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> int:
    """The duration in seconds.

    Raises:
        NameSyntaxError: It has another form.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise NameSyntaxError(f"{text!r} is not a duration: write a number with s, m, h or d, such as 24h")
    return int(match[1]) * _SECONDS[match[2]]

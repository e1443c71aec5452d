"""The ``Range`` header (RFC 9110, section 14): one range of bytes, as devices ask for. Pure."""

import re
from typing import NamedTuple

_SINGLE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Span(NamedTuple):
    """``length`` bytes at ``offset``."""

    offset: int
    length: int


class RangeNotSatisfiableError(Exception):
    """The range lies outside of the blob."""


def parse_range(header: str | None, size: int) -> Span | None:
    """The asked range of something of ``size`` bytes; None for the whole.

    What is not one single range of bytes is answered with the whole, as the RFC allows.

    Raises:
        RangeNotSatisfiableError: No byte of the range exists.
    """
    match = _SINGLE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        length = min(int(last), size)
        if not length:
            raise RangeNotSatisfiableError
        return Span(size - length, length)
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    if start >= size:
        raise RangeNotSatisfiableError
    return Span(start, end - start + 1)

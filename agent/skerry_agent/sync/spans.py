"""Cutting spans of a file into requests."""

from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """Consecutive bytes."""

    offset: int
    length: int


class SpanCursor:
    """Hands out pieces of spans; adjacent spans are read as one.

    Args:
        spans: (offset, length), in the order in which they are wanted.
    """

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._left: list[Span] = []
        for offset, length in spans:
            if offset < 0 or length < 0:
                raise ValueError(f"a span of {length} bytes at {offset}")
            if self._left and self._left[-1].offset + self._left[-1].length == offset:
                self._left[-1] = Span(self._left[-1].offset, self._left[-1].length + length)
            elif length:
                self._left.append(Span(offset, length))
        self._left.reverse()

    def take(self, most: int) -> Span | None:
        """The next piece of at most ``most`` bytes; None when nothing is left."""
        if not self._left:
            return None
        offset, length = self._left.pop()
        if length > most:
            self._left.append(Span(offset + most, length - most))
        return Span(offset, min(length, most))

    def give_back(self, span: Span) -> None:
        """Put back what an answer did not bring."""
        if span.length:
            self._left.append(span)

"""From pieces that are wanted to spans of a blob, and from what arrives back to pieces. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic

from skerry_agent.updates.ports import P
from skerry_protocol.ranges import Range, count, union


@dataclass(frozen=True, slots=True)
class Stretch(Generic[P]):
    """Adjacent pieces that are read as one span."""

    pieces: tuple[P, ...]

    @property
    def offset(self) -> int:
        """First byte."""
        return self.pieces[0].offset

    @property
    def length(self) -> int:
        """Bytes."""
        return self.pieces[-1].offset + self.pieces[-1].length - self.offset


def stretches(pieces: Sequence[P], max_bytes: int) -> Iterator[Stretch[P]]:
    """Join adjacent pieces, in order of the blob, up to ``max_bytes`` (one piece at least)."""
    run: list[P] = []
    length = 0
    for piece in sorted(pieces, key=lambda piece: piece.offset):
        adjacent = bool(run) and run[-1].offset + run[-1].length == piece.offset
        if run and (not adjacent or length + piece.length > max_bytes):
            yield Stretch(tuple(run))
            run, length = [], 0
        run.append(piece)
        length += piece.length
    if run:
        yield Stretch(tuple(run))


def batches(pieces: Sequence[P], max_bytes: int) -> Iterator[tuple[P, ...]]:
    """Cut the pieces into groups of at most ``max_bytes`` (one piece at least), in order of the blob."""
    group: list[P] = []
    length = 0
    for piece in sorted(pieces, key=lambda piece: piece.offset):
        if group and length + piece.length > max_bytes:
            yield tuple(group)
            group, length = [], 0
        group.append(piece)
        length += piece.length
    if group:
        yield tuple(group)


@dataclass(slots=True)
class _Growing(Generic[P]):
    piece: P
    data: bytearray = field(init=False)
    have: list[Range] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = bytearray(self.piece.length)


class Assembler(Generic[P]):
    """Puts bytes that arrive in any order together to pieces; holds only pieces that have begun."""

    def __init__(self, pieces: Sequence[P]) -> None:
        self._pieces = sorted(pieces, key=lambda piece: piece.offset)
        self._starts = [piece.offset for piece in self._pieces]
        self._growing: dict[int, _Growing[P]] = {}
        self._done: set[int] = set()

    def add(self, offset: int, data: bytes) -> Iterator[tuple[P, bytes]]:
        """Take ``data`` that starts at ``offset`` of the blob; yield the pieces that it completed.

        Bytes that come twice are taken once.

        Raises:
            ValueError: There are bytes that belong to no piece.
        """
        view = memoryview(data)
        while view:
            index = bisect_right(self._starts, offset) - 1
            piece = self._pieces[index] if index >= 0 else None
            if piece is None or offset >= piece.offset + piece.length:
                raise ValueError(f"{len(view)} bytes at {offset} were not asked for")
            part = view[: piece.offset + piece.length - offset]
            yield from self._put(index, offset - piece.offset, part)
            offset += len(part)
            view = view[len(part) :]

    def _put(self, index: int, start: int, part: memoryview) -> Iterator[tuple[P, bytes]]:
        if index in self._done:
            return
        growing = self._growing.setdefault(index, _Growing(self._pieces[index]))
        growing.data[start : start + len(part)] = part
        growing.have = union(growing.have, [(start, start + len(part) - 1)])
        if count(growing.have) == growing.piece.length:
            self._done.add(index)
            del self._growing[index]
            yield growing.piece, bytes(growing.data)

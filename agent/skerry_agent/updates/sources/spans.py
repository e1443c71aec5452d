"""From chunks to spans of a file, and from pieces of spans back to chunks. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from skerry_protocol.manifest import Chunk
from skerry_protocol.ranges import Range, count, union


@dataclass(frozen=True, slots=True)
class Stretch:
    """Adjacent chunks that are read as one span."""

    chunks: tuple[Chunk, ...]

    @property
    def offset(self) -> int:
        """First byte."""
        return self.chunks[0].offset

    @property
    def length(self) -> int:
        """Bytes."""
        return self.chunks[-1].offset + self.chunks[-1].length - self.offset


def stretches(chunks: Sequence[Chunk], max_bytes: int) -> Iterator[Stretch]:
    """Join adjacent chunks, in order of the file, up to ``max_bytes`` (one chunk at least)."""
    run: list[Chunk] = []
    length = 0
    for chunk in sorted(chunks, key=lambda chunk: chunk.offset):
        adjacent = bool(run) and run[-1].offset + run[-1].length == chunk.offset
        if run and (not adjacent or length + chunk.length > max_bytes):
            yield Stretch(tuple(run))
            run, length = [], 0
        run.append(chunk)
        length += chunk.length
    if run:
        yield Stretch(tuple(run))


def batches(chunks: Sequence[Chunk], max_bytes: int) -> Iterator[tuple[Chunk, ...]]:
    """Cut the chunks into groups of at most ``max_bytes`` (one chunk at least), in order of the file."""
    group: list[Chunk] = []
    length = 0
    for chunk in sorted(chunks, key=lambda chunk: chunk.offset):
        if group and length + chunk.length > max_bytes:
            yield tuple(group)
            group, length = [], 0
        group.append(chunk)
        length += chunk.length
    if group:
        yield tuple(group)


@dataclass(slots=True)
class _Growing:
    chunk: Chunk
    data: bytearray = field(init=False)
    have: list[Range] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = bytearray(self.chunk.length)


class Assembler:
    """Puts pieces that arrive in any order together to chunks; holds only chunks that have begun."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = sorted(chunks, key=lambda chunk: chunk.offset)
        self._starts = [chunk.offset for chunk in self._chunks]
        self._growing: dict[int, _Growing] = {}
        self._done: set[int] = set()

    def add(self, offset: int, data: bytes) -> Iterator[tuple[Chunk, bytes]]:
        """Take ``data`` that starts at ``offset`` of the file; yield the chunks that it completed.

        Bytes that come twice are taken once.

        Raises:
            ValueError: There are bytes that belong to no chunk.
        """
        view = memoryview(data)
        while view:
            index = bisect_right(self._starts, offset) - 1
            chunk = self._chunks[index] if index >= 0 else None
            if chunk is None or offset >= chunk.offset + chunk.length:
                raise ValueError(f"{len(view)} bytes at {offset} were not asked for")
            piece = view[: chunk.offset + chunk.length - offset]
            yield from self._put(index, offset - chunk.offset, piece)
            offset += len(piece)
            view = view[len(piece) :]

    def _put(self, index: int, start: int, piece: memoryview) -> Iterator[tuple[Chunk, bytes]]:
        if index in self._done:
            return
        growing = self._growing.setdefault(index, _Growing(self._chunks[index]))
        growing.data[start : start + len(piece)] = piece
        growing.have = union(growing.have, [(start, start + len(piece) - 1)])
        if count(growing.have) == growing.chunk.length:
            self._done.add(index)
            del self._growing[index]
            yield growing.chunk, bytes(growing.data)

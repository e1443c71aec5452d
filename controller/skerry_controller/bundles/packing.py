"""Where in a bundle each chunk lies, and how it is read from the blobs. Functions of values."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from skerry_protocol.bundle import ChunkIndex, PackedChunk
from skerry_protocol.manifest import Chunk

MAX_READ_BYTES = 4 * 1024 * 1024
"""What is read from a blob at once."""


class FileChunk(NamedTuple):
    """A chunk and the file from which its bytes are read."""

    file_sha256: str
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Packing:
    """The index of a bundle's chunks, and the chunks of each pack in order."""

    index: ChunkIndex
    packs: tuple[tuple[FileChunk, ...], ...]

    @property
    def length(self) -> int:
        """Bytes of all chunks."""
        return sum(self.index.packs)


def pack(chunks: Sequence[FileChunk], max_pack_bytes: int) -> Packing:
    """Put chunks one after the other into packs; none spans two of them.

    Args:
        chunks: In the order in which they are read.
        max_pack_bytes: Of one pack; a chunk that is larger has one alone.
    """
    packs: list[list[FileChunk]] = []
    lengths: list[int] = []
    places = []
    for found in chunks:
        length = found.chunk.length
        if not packs or lengths[-1] + length > max_pack_bytes:
            packs.append([])
            lengths.append(0)
        places.append(
            PackedChunk(sha256=found.chunk.sha256, pack=len(packs), offset=lengths[-1], length=length)
        )
        packs[-1].append(found)
        lengths[-1] += length
    index = ChunkIndex(packs=tuple(lengths), chunks=tuple(places))
    return Packing(index, tuple(tuple(each) for each in packs))


def reads(chunks: Iterable[FileChunk], max_bytes: int = MAX_READ_BYTES) -> Iterator[list[FileChunk]]:
    """Group the chunks of a pack into adjacent ones of one file, so that each group is one read.

    Args:
        chunks: In the pack's order.
        max_bytes: Of one read; one chunk at least.
    """
    group: list[FileChunk] = []
    length = 0
    for found in chunks:
        if group:
            last = group[-1]
            adjacent = last.file_sha256 == found.file_sha256 and (
                last.chunk.offset + last.chunk.length == found.chunk.offset
            )
            if not adjacent or length + found.chunk.length > max_bytes:
                yield group
                group, length = [], 0
        group.append(found)
        length += found.chunk.length
    if group:
        yield group

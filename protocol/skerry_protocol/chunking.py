"""Cuts a model file into chunks that keep their identity (SHA-256 of their bytes) from version to version.

A chunk that two files share is transferred once, so the cuts follow what the file is made of:

* The fixed header and the metadata entries; a run of small entries is packed into one chunk.
* The tensor list by itself. Its offsets count from the start of the data: a longer header changes nothing in
  it.
* The zeros between tensor list and data by themselves: how many depends on the length of all before them.
* Each tensor by itself, cut at a fixed size from **its own** start: a header of another length moves no cut.
  The zeros that align the next tensor belong to the end of the tensor before them: how many follows from its
  own length alone. So the chunks of a tensor of at least ``min_chunk_bytes`` depend on nothing but itself.
  Smaller ones (norms, biases) share a chunk with the small ones right beside them, never with a large one.

A pack is closed before it would exceed ``min_chunk_bytes``, and by anything large or of another kind. So a
small change costs at most the packs up to the next large neighbour.

Files that are not GGUF are cut at a fixed size.
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from skerry_protocol.gguf_header import Buffer, GgufHeader


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """Sizes of chunks, in bytes. Both sides of a comparison must use the same ones to find shared chunks."""

    max_chunk_bytes: int = 1024 * 1024
    min_chunk_bytes: int = 16 * 1024
    """Neighbours below this size are packed together, up to this size."""

    def __post_init__(self) -> None:
        if not 0 < self.min_chunk_bytes <= self.max_chunk_bytes:
            raise ValueError(
                f"min_chunk_bytes {self.min_chunk_bytes} must be above 0 and at most max_chunk_bytes "
                f"{self.max_chunk_bytes}"
            )


class Span(NamedTuple):
    """``length`` bytes at ``offset``, counted from the start of the file."""

    offset: int
    length: int


class HashedChunk(NamedTuple):
    """A chunk and its identity: the SHA-256 of its bytes in lower-case hexadecimal."""

    offset: int
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ChunkedFile:
    """A whole file with its chunks, in the order of the file."""

    length: int
    sha256: str
    chunks: tuple[HashedChunk, ...]


def plan_chunks(
    length: int, header: GgufHeader | None = None, limits: ChunkLimits | None = None
) -> list[Span]:
    """Cover a file of ``length`` bytes exactly once, without gaps, in the order of the file.

    Args:
        length: Length of the file in bytes; an empty file has no chunks.
        header: What ``read_gguf_header`` read from this file; None for files of other kinds.
        limits: Sizes of chunks.
    """
    limits = limits or ChunkLimits()
    if length < 0:
        raise ValueError(f"the length of a file cannot be {length}")
    if header is None:
        return list(_split(Span(0, length), limits))
    if header.file_length != length:
        raise ValueError(f"the header is of a file of {header.file_length} bytes, not {length}")
    spans: list[Span] = []
    for run in _runs(header):
        spans.extend(_pack(run, limits))
    return spans


def hash_chunks(buffer: Buffer, spans: Sequence[Span]) -> Generator[HashedChunk, None, ChunkedFile]:
    """Hash chunk after chunk, and in the same pass the whole; returns (as a generator does) the whole.

    Raises:
        ValueError: The spans do not cover the buffer exactly.
    """
    whole = hashlib.sha256()
    chunks: list[HashedChunk] = []
    with memoryview(buffer) as view:
        _check_cover(spans, len(view))
        for offset, length in spans:
            # No reference to the slice may live on: an mmap with one cannot be closed.
            with view[offset : offset + length] as data:
                whole.update(data)
                chunk = HashedChunk(offset, length, hashlib.sha256(data).hexdigest())
            chunks.append(chunk)
            yield chunk
        total = len(view)
    return ChunkedFile(total, whole.hexdigest(), tuple(chunks))


def chunk_file(
    buffer: Buffer, spans: Sequence[Span], *, progress: Callable[[int], None] | None = None
) -> ChunkedFile:
    """Hash all chunks and the whole file in one pass.

    Args:
        buffer: The whole file.
        spans: What ``plan_chunks`` returned for it.
        progress: Called after each chunk with the number of bytes hashed so far.

    Raises:
        ValueError: The spans do not cover the buffer exactly.
    """
    hashing = hash_chunks(buffer, spans)
    while True:
        try:
            chunk = next(hashing)
        except StopIteration as end:
            # The value of a generator's ``return``.
            result: ChunkedFile = end.value
            return result
        if progress is not None:
            progress(chunk.offset + chunk.length)


def _runs(header: GgufHeader) -> Iterator[list[Span]]:
    """The parts of a GGUF file: lists of neighbours that may be packed with each other."""
    entries = [Span(entry.offset, entry.length) for entry in header.entries]
    fixed_end = entries[0].offset if entries else header.entries_end
    yield [Span(0, fixed_end), *entries]
    yield [Span(header.entries_end, header.tensors_end - header.entries_end)]
    yield [Span(header.tensors_end, header.data_offset - header.tensors_end)]
    yield from _tensor_runs(header)
    yield [Span(header.data_end, header.file_length - header.data_end)]


def _tensor_runs(header: GgufHeader) -> Iterator[list[Span]]:
    run: list[Span] = []
    position = header.data_offset
    for tensor in sorted(header.tensors, key=lambda tensor: tensor.offset):
        if tensor.offset > position:
            # A gap beyond alignment: llama.cpp writes none, but the cover must be exact.
            yield run
            yield [Span(position, tensor.offset - position)]
            run = []
        padded = -(-tensor.length // header.alignment) * header.alignment
        position = min(tensor.offset + padded, header.data_end)
        run.append(Span(tensor.offset, position - tensor.offset))
    yield run
    yield [Span(position, header.data_end - position)]


def _pack(run: Iterable[Span], limits: ChunkLimits) -> Iterator[Span]:
    """Join small neighbours and split large spans."""
    packed = Span(0, 0)
    for span in run:
        if packed.length and packed.length + span.length <= limits.min_chunk_bytes:
            packed = Span(packed.offset, packed.length + span.length)
            continue
        yield from _split(packed, limits)
        packed = span
    yield from _split(packed, limits)


def _split(span: Span, limits: ChunkLimits) -> Iterator[Span]:
    """Cut at multiples of the largest size; the last two pieces are halves if a tiny rest would be left."""
    offset, rest = span
    while rest:
        length = min(limits.max_chunk_bytes, rest)
        if 0 < rest - length < limits.min_chunk_bytes:
            length = -(-rest // 2)
        yield Span(offset, length)
        offset, rest = offset + length, rest - length


def _check_cover(spans: Sequence[Span], length: int) -> None:
    position = 0
    for span in spans:
        if span.offset != position or span.length <= 0:
            raise ValueError(f"chunk at {span.offset} does not follow the one that ends at {position}")
        position += span.length
    if position != length:
        raise ValueError(f"the chunks cover {position} bytes of a file of {length}")

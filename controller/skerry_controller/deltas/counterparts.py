"""Which bytes of the base a chunk is likely to resemble. Pure."""

from bisect import bisect_right
from typing import NamedTuple

from skerry_protocol.deltas import MAX_DELTA_CHUNK_BYTES
from skerry_protocol.gguf_header import GgufHeader, TensorInfo
from skerry_protocol.manifest import Chunk


class Counterpart(NamedTuple):
    """``length`` bytes at ``offset`` of the base.

    Attributes:
        tensor_type: What they are when they are of a tensor, such as ``Q4_K``.
        phase: How many bytes into a block of it they begin.
    """

    offset: int
    length: int
    tensor_type: str | None = None
    phase: int = 0


class Counterparts:
    """Finds the same tensor, and the same metadata entries, in another file.

    Args:
        header: Of the file whose chunks are asked for.
        base: Of the base; None for no base.
    """

    def __init__(self, header: GgufHeader | None, base: GgufHeader | None) -> None:
        self._header = header
        self._base = base
        self._tensors = sorted(header.tensors, key=lambda tensor: tensor.offset) if header else []
        self._starts = [tensor.offset for tensor in self._tensors]
        self._base_tensors = {tensor.name: tensor for tensor in base.tensors} if base else {}

    def find(self, chunk: Chunk) -> Counterpart | None:
        """The base's bytes for a chunk, if any are likely to resemble it."""
        header, base = self._header, self._base
        if header is None or base is None:
            return None
        index = bisect_right(self._starts, chunk.offset) - 1
        if index >= 0:
            return self._tensor(chunk, self._tensors[index], base)
        if chunk.offset >= header.entries_end:
            skipped = chunk.offset - header.entries_end
            return _span(base.entries_end + skipped, base.tensors_end, base)
        return self._entries(chunk, header, base)

    def _tensor(self, chunk: Chunk, tensor: TensorInfo, base: GgufHeader) -> Counterpart | None:
        """A chunk of small tensors is measured by its first: those behind it lie in the base likewise."""
        found = self._base_tensors.get(tensor.name)
        if found is None or found.type != tensor.type:
            return None
        inside = chunk.offset - tensor.offset
        offset = found.offset + inside
        if offset + chunk.length > base.file_length:
            return None
        return Counterpart(offset, chunk.length, tensor.type.name, inside % tensor.type.block_bytes)

    @staticmethod
    def _entries(chunk: Chunk, header: GgufHeader, base: GgufHeader) -> Counterpart | None:
        end = chunk.offset + chunk.length
        keys = {e.key for e in header.entries if e.offset < end and e.offset + e.length > chunk.offset}
        same = [entry for entry in base.entries if entry.key in keys]
        if not same:
            return None
        # A long entry is cut into chunks: what is before this one in it is before its counterpart too.
        first = next(entry for entry in header.entries if entry.key == same[0].key)
        skipped = max(0, chunk.offset - first.offset) if len(keys) == 1 else 0
        return _span(same[0].offset + skipped, same[-1].offset + same[-1].length, base)


def _span(offset: int, end: int, base: GgufHeader) -> Counterpart | None:
    offset = min(offset, base.file_length)
    length = min(end - offset, MAX_DELTA_CHUNK_BYTES)
    return Counterpart(offset, length) if length > 0 else None

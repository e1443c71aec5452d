"""Chunks out of a bundle that is being imported."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import NamedTuple, Protocol

from skerry_agent.updates.ports import SourceError
from skerry_protocol.bundle import ChunkIndex, PackedChunk, pack_name
from skerry_protocol.manifest import Chunk

MiB = 1024 * 1024
MAX_READ_BYTES = 2 * MiB
"""What is read at once, unless one chunk is larger."""


class BundleReader(Protocol):
    """Reads files of a bundle (``bundles.BundleFiles``)."""

    async def read(self, name: str, offset: int, length: int) -> bytes | None:
        """At most ``length`` bytes; None: there is no such file."""


class _Open:
    """One bundle while it is attached."""

    def __init__(self, index: ChunkIndex, reader: BundleReader) -> None:
        self.places = {chunk.sha256: chunk for chunk in index.chunks}
        self.reader = reader
        self.lacking_bytes = 0
        self.brought_bytes = 0
        self.problem: str | None = None


class _Found(NamedTuple):
    place: PackedChunk
    chunk: Chunk


class BundleSource:
    """Brings chunks while a bundle is attached; otherwise it has none, and says nothing."""

    name = "bundle"

    def __init__(self) -> None:
        self._open: _Open | None = None

    def attach(self, index: ChunkIndex, reader: BundleReader) -> None:
        """Serve from a bundle. The index is not trusted: each chunk is checked by whoever takes it."""
        self._open = _Open(index, reader)

    def detach(self) -> None:
        """Serve no more."""
        self._open = None

    @property
    def lacking_bytes(self) -> int:
        """Bytes of chunks that were asked for last and are not in the attached bundle."""
        return self._open.lacking_bytes if self._open is not None else 0

    @property
    def brought_bytes(self) -> int:
        """Bytes of chunks that the attached bundle brought, wrong ones included."""
        return self._open.brought_bytes if self._open is not None else 0

    @property
    def problem(self) -> str | None:
        """Why the attached bundle could not bring something that it has."""
        return self._open.problem if self._open is not None else None

    async def fetch(
        self,
        file_sha256: str,  # noqa: ARG002 - chunks are found by their own hash
        chunks: Sequence[Chunk],
    ) -> AsyncGenerator[tuple[Chunk, bytes], None]:
        """Yield the chunks that are in the bundle.

        Raises:
            SourceError: The bundle is torn. Other ``AgentError``s come from the reader.
        """
        opened = self._open
        if opened is None:
            return
        found = [
            _Found(place, chunk)
            for chunk in chunks
            if (place := opened.places.get(chunk.sha256)) is not None and place.length == chunk.length
        ]
        for group in _groups(sorted(found, key=lambda one: (one.place.pack, one.place.offset))):
            data = await _read(opened, group)
            for place, chunk in group:
                start = place.offset - group[0].place.offset
                opened.brought_bytes += chunk.length
                try:
                    yield chunk, data[start : start + chunk.length]
                except GeneratorExit:
                    # Whoever took it does not go on: most likely, it is not what the manifest says.
                    opened.problem = f"the bytes at {place.offset} of {pack_name(place.pack)} are damaged"
                    raise
        opened.lacking_bytes = sum(chunk.length for chunk in chunks) - sum(one.chunk.length for one in found)


async def _read(opened: _Open, group: Sequence[_Found]) -> bytes:
    first, last = group[0].place, group[-1].place
    length = last.offset + last.length - first.offset
    name = pack_name(first.pack)
    try:
        data = await opened.reader.read(name, first.offset, length)
    except Exception as error:
        opened.problem = str(error)
        raise
    if data is None or len(data) < length:
        opened.problem = f"{name} is {'missing' if data is None else 'cut off'}"
        raise SourceError(opened.problem)
    return data


def _groups(found: Sequence[_Found]) -> Iterator[list[_Found]]:
    """Runs of chunks that lie one after the other, each of which is one read."""
    group: list[_Found] = []
    for one in found:
        if group:
            first, last = group[0].place, group[-1].place
            adjacent = last.pack == one.place.pack and last.offset + last.length == one.place.offset
            if not adjacent or one.place.offset + one.place.length - first.offset > MAX_READ_BYTES:
                yield group
                group = []
        group.append(one)
    if group:
        yield group

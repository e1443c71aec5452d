"""Chunks, and pieces of deltas, out of a bundle that is being imported."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from skerry_agent.updates.ports import P, SourceError
from skerry_protocol.bundle import ChunkIndex, pack_name
from skerry_protocol.manifest import Chunk

T = TypeVar("T")
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


class _Found(NamedTuple, Generic[T]):
    """Where in the bundle the bytes of something that is wanted lie."""

    pack: int
    offset: int
    length: int
    wanted: T


class BundleSource:
    """Brings chunks while a bundle is attached; otherwise it has none, and says nothing.

    The packs of deltas are in a bundle as one "chunk" each: pieces of them are brought by :meth:`read`.
    """

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
    def open(self) -> bool:
        """Whether a bundle is attached."""
        return self._open is not None

    @property
    def lacking_bytes(self) -> int:
        """Bytes of chunks that were asked for last and are not in the attached bundle."""
        return self._open.lacking_bytes if self._open is not None else 0

    @property
    def brought_bytes(self) -> int:
        """Bytes that the attached bundle brought, wrong ones included."""
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
            _Found(place.pack, place.offset, chunk.length, chunk)
            for chunk in chunks
            if (place := opened.places.get(chunk.sha256)) is not None and place.length == chunk.length
        ]
        for group in _groups(found):
            for one, data in await _read(opened, group):
                try:
                    yield one.wanted, data
                except GeneratorExit:
                    # Whoever took it does not go on: it is not what the manifest says, or the disk failed.
                    if hashlib.sha256(data).hexdigest() != one.wanted.sha256:
                        opened.problem = _damaged(one)
                    raise
        opened.lacking_bytes = sum(chunk.length for chunk in chunks) - sum(one.length for one in found)

    async def read(
        self, blob_sha256: str, pieces: Sequence[P], is_right: Callable[[P, bytes], bool]
    ) -> AsyncGenerator[tuple[P, bytes], None]:
        """Yield pieces of a blob that the bundle carries whole; none when it does not. As ``Network.read``.

        Raises:
            SourceError: The bundle is torn, or a piece is wrong. Other ``AgentError``s come from the reader.
        """
        opened = self._open
        place = None if opened is None else opened.places.get(blob_sha256)
        if opened is None or place is None:
            return
        found = [
            _Found(place.pack, place.offset + piece.offset, piece.length, piece)
            for piece in pieces
            if piece.offset + piece.length <= place.length
        ]
        for group in _groups(found):
            for one, data in await _read(opened, group):
                if not await asyncio.to_thread(is_right, one.wanted, data):
                    opened.problem = _damaged(one)
                    raise SourceError(opened.problem)
                yield one.wanted, data


async def _read(opened: _Open, group: Sequence[_Found[T]]) -> list[tuple[_Found[T], bytes]]:
    """One read, cut into what was wanted."""
    begin, last = group[0].offset, group[-1]
    length = last.offset + last.length - begin
    name = pack_name(last.pack)
    try:
        data = await opened.reader.read(name, begin, length)
    except Exception as error:
        opened.problem = str(error)
        raise
    if data is None or len(data) < length:
        opened.problem = f"{name} is {'missing' if data is None else 'cut off'}"
        raise SourceError(opened.problem)
    opened.brought_bytes += length
    return [(one, data[one.offset - begin : one.offset - begin + one.length]) for one in group]


def _groups(found: Sequence[_Found[T]]) -> Iterator[list[_Found[T]]]:
    """Runs that lie one after the other, each of which is one read."""
    group: list[_Found[T]] = []
    for one in sorted(found, key=lambda one: (one.pack, one.offset)):
        if group:
            last = group[-1]
            adjacent = last.pack == one.pack and last.offset + last.length == one.offset
            if not adjacent or one.offset + one.length - group[0].offset > MAX_READ_BYTES:
                yield group
                group = []
        group.append(one)
    if group:
        yield group


def _damaged(one: _Found[T]) -> str:
    return f"the bytes at {one.offset} of {pack_name(one.pack)} are damaged"

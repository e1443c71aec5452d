"""What devices may read: files of the repository, and blobs of published artifacts."""

import asyncio
import time
from collections import OrderedDict
from typing import Protocol

from sqlalchemy import select

from skerry_controller.database import ArtifactFileRow, ArtifactRow, Database, DeltaRow
from skerry_protocol.packing import pack


class RepositoryFiles(Protocol):
    """The TUF repository."""

    def get(self, name: str) -> bytes | None:
        """The file by the name that a TUF client asks for; blocking."""


class BlobReader(Protocol):
    """Blobs by their hash."""

    async def read_range(self, sha256: str, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``."""


_MUTABLE = "timestamp.json"


class MetadataCache:
    """Files of the repository; versioned ones are kept in memory, since they do not change once named.

    An interrupted publication may leave some that nothing names, and the next one replaces them: so all are
    read anew when the timestamp, with which every reader begins, is another.
    """

    def __init__(self, files: RepositoryFiles, *, max_bytes: int = 16 * 1024 * 1024) -> None:
        self._files = files
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._bytes = 0
        # One at a time: many devices that ask for the same are answered with one compression.
        self._packing = asyncio.Lock()
        self._timestamp: bytes | None = None

    async def get(self, name: str) -> bytes | None:
        """The file, or None."""
        if (kept := self._held((name,))) is not None:
            return kept
        timestamp = self._timestamp
        content = await asyncio.to_thread(self._files.get, name)
        if name == _MUTABLE:
            self._note_timestamp(content)
        elif content is not None and timestamp == self._timestamp:
            self._keep((name,), content)
        return content

    async def packed(self, name: str, base: str | None) -> bytes | None:
        """The file as it travels, or None; packed against ``base`` where there is such a file."""
        key = (name, "packed", base or "")
        async with self._packing:
            if (kept := self._held(key)) is not None:
                return kept
            timestamp = self._timestamp
            content = await self.get(name)
            if content is None:
                return None
            similar = await self.get(base) if base else None
            result = await asyncio.to_thread(pack, content, similar)
            if name != _MUTABLE and timestamp == self._timestamp:
                self._keep(key, result)
            return result

    def _held(self, key: tuple[str, ...]) -> bytes | None:
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def _note_timestamp(self, content: bytes | None) -> None:
        if content != self._timestamp:
            self._timestamp = content
            self._kept.clear()
            self._bytes = 0

    def _keep(self, key: tuple[str, ...], content: bytes) -> None:
        if key in self._kept:
            return
        self._kept[key] = content
        self._bytes += len(content)
        while self._bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped)


class PublishedBlobs:
    """Which blobs belong to published artifacts or their deltas, and how long they are."""

    def __init__(self, database: Database, *, life_s: float = 10.0, max_entries: int = 1000) -> None:
        self._database = database
        self._life_s = life_s
        self._max_entries = max_entries
        self._known: dict[str, tuple[int, float]] = {}

    async def length(self, sha256: str) -> int | None:
        """The blob's length in bytes; None when nothing published has it."""
        now = time.monotonic()
        known = self._known.get(sha256)
        if known is not None and now < known[1]:
            return known[0]
        query = (
            select(ArtifactFileRow.length)
            .join(ArtifactRow, ArtifactRow.target_path == ArtifactFileRow.target_path)
            .where(ArtifactFileRow.sha256 == sha256, ArtifactRow.withdrawn_at.is_(None))
        )
        async with self._database.session() as session:
            length = await session.scalar(query.limit(1))
            if length is None:
                packs = select(DeltaRow.pack_length).where(
                    DeltaRow.pack_sha256 == sha256, DeltaRow.withdrawn_at.is_(None)
                )
                length = await session.scalar(packs.limit(1))
        if length is None:
            self._known.pop(sha256, None)
            return None
        if len(self._known) >= self._max_entries:
            self._known.clear()
        self._known[sha256] = (length, now + self._life_s)
        return length

"""Room on the disk: downloads that reserve it, the budget that bounds it, the garbage that gives it back."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from sqlite3 import Connection

import structlog

from skerry_agent.registry import catalog
from skerry_agent.registry.artifact import ChunkPlace, DiskUsage, RegistryLimits
from skerry_agent.registry.errors import NoSpaceError, disk_errors
from skerry_agent.registry.files import FileStore, allocated_bytes
from skerry_agent.registry.garbage import Holdings, plan_garbage
from skerry_agent.registry.partial import PartialDownload, held_offsets
from skerry_agent.registry.state import CatalogState
from skerry_protocol.manifest import Chunk

_EVERYTHING = 1 << 62

log = structlog.get_logger(__name__)


class Storage:
    """Measures, reserves and frees room for files."""

    def __init__(
        self, state: CatalogState, store: FileStore, limits: RegistryLimits, clock: Callable[[], float]
    ) -> None:
        self._state = state
        self._store = store
        self._limits = limits
        self._clock = clock
        self._open_partials: dict[str, PartialDownload] = {}
        self._promised_bytes = 0

    async def close(self) -> None:
        """Journal open downloads and let go of their files."""
        for partial in list(self._open_partials.values()):
            await partial.close()

    async def usage(self) -> DiskUsage:
        """How many bytes are used, allowed and free."""
        used, free = await asyncio.to_thread(self._measure)
        return DiskUsage(used, self._limits.disk_budget_bytes, free)

    @contextmanager
    def promised(self, length: int) -> Iterator[None]:
        """Count ``length`` bytes as used that are not written yet."""
        self._promised_bytes += length
        try:
            yield
        finally:
            self._promised_bytes -= length

    async def open_partial(self, sha256: str, length: int, chunks: Sequence[Chunk]) -> PartialDownload:
        """Begin a download, or go on with one; room for the whole file is reserved on the disk."""
        if sha256 in self._open_partials:
            raise RuntimeError(f"the download of {sha256} is open already")
        allocated = await asyncio.to_thread(allocated_bytes, self._store.part_path(sha256))
        await self.pin(sha256, length)
        await self.reserve(max(0, length - allocated))
        partial = PartialDownload(self._store, sha256, length, chunks, limits=self._limits)
        await self._state.database.write(lambda c: catalog.index_download(c, sha256, partial.chunks))
        self._open_partials[sha256] = partial
        partial.on_close(lambda: self._open_partials.pop(sha256, None))
        try:
            await asyncio.to_thread(partial.open)
        except BaseException:
            partial.abandon()
            raise
        return partial

    async def locate_chunks(self, hashes: Sequence[str]) -> dict[str, list[ChunkPlace]]:
        """Chunk hash -> where its bytes are, in whole files first."""
        rows = await self._state.database.read(lambda c: catalog.locate_chunks(c, hashes))
        unfinished = {row.file_sha256 for found in rows.values() for row in found if not row.whole}
        held = {sha256: await self._held_offsets(sha256) for sha256 in unfinished}
        places: dict[str, list[ChunkPlace]] = {}
        for sha256, found in rows.items():
            for row in sorted(found, key=lambda row: not row.whole):
                if row.whole or row.offset in held[row.file_sha256]:
                    of = self._store.path if row.whole else self._store.part_path
                    place = ChunkPlace(of(row.file_sha256), row.offset, row.length)
                    places.setdefault(sha256, []).append(place)
        return places

    async def _held_offsets(self, sha256: str) -> set[int]:
        """Where the chunks begin that a download has already."""
        under_way = self._open_partials.get(sha256)
        if under_way is not None:
            return under_way.held_offsets()
        chunks = await self._state.database.read(lambda c: catalog.chunks_of(c, sha256))
        with disk_errors("reading", self._store.journal_path(sha256)):
            return await asyncio.to_thread(held_offsets, self._store, sha256, chunks)

    async def pin(self, sha256: str, length: int) -> None:
        """Keep a file, and its download, until it serves in a slot or is released."""
        now = self._clock()
        await self._state.database.write(lambda c: catalog.pin(c, sha256, length, now))

    async def release(self, sha256: str) -> None:
        """Say that a file is not wanted for now: it stays until its room is needed."""
        await self._state.database.write(lambda c: catalog.release(c, sha256))

    async def room_bytes(self) -> int:
        """So many bytes more could be written, with all collected that may be; below 0 when too full."""
        garbage = plan_garbage(
            await self._holdings(),
            need_bytes=_EVERYTHING,
            now=self._clock(),
            partial_keep_s=self._limits.partial_keep_s,
        )
        return await self._free_bytes() + garbage.freed_bytes

    async def _free_bytes(self) -> int:
        """So many bytes more could be written now."""
        used, free = await asyncio.to_thread(self._measure)
        room = free - self._limits.min_free_bytes
        if self._limits.disk_budget_bytes:
            room = min(room, self._limits.disk_budget_bytes - used)
        return room - self._promised_bytes

    async def reserve(self, need_bytes: int) -> None:
        """Make sure that ``need_bytes`` more fit, collecting garbage when they do not.

        Where all that may be collected would not do, only what is garbage anyway goes: versions that could
        still serve, or give chunks, are not given up for nothing.
        """
        missing = need_bytes - await self._free_bytes()
        if need_bytes and missing > 0:
            room = await self.room_bytes()
            enough = room >= need_bytes
            await self.collect(missing if enough else 0)
            missing = need_bytes - (await self._free_bytes() if enough else room)
        if need_bytes and missing > 0:
            raise NoSpaceError(
                f"{need_bytes} bytes are needed and {missing} of them are missing: free space on the disk, "
                "remove models, or raise disk_budget_bytes",
                missing_bytes=missing,
            )

    async def collect(self, need_bytes: int = 0) -> int:
        """Remove what nothing needs, and more while under ``need_bytes`` were freed; returns bytes freed."""
        async with self._state.lock:
            garbage = plan_garbage(
                await self._holdings(),
                need_bytes=need_bytes,
                now=self._clock(),
                partial_keep_s=self._limits.partial_keep_s,
            )

            def forget(connection: Connection) -> None:
                for artifact in garbage.artifacts:
                    catalog.delete_artifact(connection, artifact)
                for sha256 in (*garbage.partials, *garbage.files):
                    catalog.delete_partial(connection, sha256)

            # The catalog first: a file without a row is garbage again, a row without its file is broken.
            if garbage.artifacts or garbage.partials or garbage.files:
                await self._state.database.write(forget)
            await asyncio.to_thread(self._remove, garbage.files, garbage.partials)
            if garbage.artifacts:
                await self._state.refresh()
        if garbage.freed_bytes:
            log.info("garbage_collected", freed_bytes=garbage.freed_bytes)
        return garbage.freed_bytes

    async def _holdings(self) -> Holdings:
        known = await self._state.database.read(catalog.partials)
        files, partials = await asyncio.to_thread(
            lambda: (dict(self._store.stored()), dict(self._store.partials()))
        )
        return Holdings(
            files=files,
            partials=partials,
            known=known,
            artifacts=self._state.artifacts,
            slots=list(self._state.slots.values()),
            open_partials=set(self._open_partials),
        )

    def _remove(self, files: Sequence[str], partials: Sequence[str]) -> None:
        for sha256 in files:
            with disk_errors("removing", self._store.path(sha256)):
                self._store.remove_file(sha256)
        for sha256 in partials:
            with disk_errors("removing", self._store.part_path(sha256)):
                self._store.remove_partial(sha256)

    def _measure(self) -> tuple[int, int]:
        with disk_errors("measuring", self._store.folder):
            used = sum(size for _, size in self._store.stored())
            used += sum(size for _, size in self._store.partials())
            return used, self._store.disk.free_bytes(self._store.folder)

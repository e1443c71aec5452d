"""A download that survives restarts: a preallocated file and a journal of what is surely in it."""

import asyncio
import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from skerry_agent import durable
from skerry_agent.registry import journal
from skerry_agent.registry.artifact import Progress, RegistryLimits
from skerry_agent.registry.errors import (
    DamagedDownloadError,
    InconsistentManifestError,
    WrongBytesError,
    disk_errors,
)
from skerry_agent.registry.files import FileStore, allocated_bytes, hash_file
from skerry_protocol.manifest import Chunk


class PartialDownload:
    """One file on its way. Get it from ``Registry.open_partial``; one at a time for a digest.

    A chunk counts once its hash was checked. It is journaled after its bytes were synced, in batches; what
    was written but not journaled when the process ended is found again at the next start by its hash.
    """

    def __init__(
        self,
        store: FileStore,
        sha256: str,
        length: int,
        chunks: Sequence[Chunk],
        *,
        limits: RegistryLimits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sha256 = sha256
        self.length = length
        self.chunks = tuple(chunks)
        self._planned = frozenset(self.chunks)
        self._same: dict[str, list[int]] = {}
        for index, chunk in enumerate(self.chunks):
            self._same.setdefault(chunk.sha256, []).append(index)
        self._store = store
        self._disk = store.disk
        self._limits = limits
        self._monotonic = monotonic
        self._part: Path = store.part_path(sha256)
        self._journal: Path = store.journal_path(sha256)
        self._plan = journal.plan_digest(sha256, self.chunks)
        self._present: set[int] = set()
        self._unsynced: list[int] = []
        self._unsynced_bytes = 0
        self._synced_at = monotonic()
        self._file = -1
        self._log = -1
        # A thread may still write when its caller was cancelled; the file must not be closed under it.
        self._lock = threading.Lock()
        self._on_close: Callable[[], object] | None = None

    # What the caller sees.

    @property
    def bytes_done(self) -> int:
        """Bytes of verified chunks."""
        return sum(self.chunks[index].length for index in self._present)

    def held_offsets(self) -> set[int]:
        """Where verified chunks begin."""
        return {self.chunks[index].offset for index in tuple(self._present)}

    def missing(self) -> list[Chunk]:
        """Chunks that are still needed, in the order of the file; of equal ones, the first stands for all."""
        first: dict[str, Chunk] = {}
        for index, chunk in enumerate(self.chunks):
            if index not in self._present:
                first.setdefault(chunk.sha256, chunk)
        return list(first.values())

    async def write(self, chunk: Chunk, data: bytes) -> None:
        """Check and keep one chunk, wherever the file has these bytes; one that is there already is fine.

        Raises:
            WrongBytesError: ``data`` is not the chunk; nothing was written.
            ValueError: The chunk is not one of this download.
            NoSpaceError, StorageError: The disk did not take it.
        """
        await asyncio.to_thread(self._write, chunk, data)

    def take(self, chunk: Chunk, data: bytes) -> bool:
        """As :meth:`write`, for a caller in a thread; False for bytes that are not the chunk. Blocks."""
        try:
            self._write(chunk, data)
        except WrongBytesError:
            return False
        return True

    async def flush(self) -> None:
        """Sync and journal what was written so far."""
        await asyncio.to_thread(self._flush)

    async def finish(self, progress: Progress | None = None) -> Path:
        """Hash the whole file and move it to its place; returns the final path. The download is then over.

        Raises:
            DamagedDownloadError: The disk returned other bytes than were written: those chunks are missing
                again.
            InconsistentManifestError: All chunks are right but the file's hash is another.
            NoSpaceError, StorageError: The disk failed.
        """
        return await asyncio.to_thread(self._finish, progress)

    async def close(self) -> None:
        """Journal what was written and let go of the file; it stays for a later :meth:`open`."""
        await asyncio.to_thread(self._close)

    # In worker threads.

    def open(self) -> None:
        """Create or reopen the files and find out what is there. Blocks."""
        need = max(0, self.length - allocated_bytes(self._part))
        with self._disk_errors("preparing the download", need):
            with contextlib.suppress(FileNotFoundError):
                # Read-only when power failed between the last check and the final name.
                self._part.chmod(0o600)
            self._file = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._open_journal()
            if os.fstat(self._file).st_size != self.length or allocated_bytes(self._part) < self.length:
                self._preallocate()
            durable.fsync_folder(self._part.parent)
            self._salvage()
            self._flush_locked()

    def abandon(self) -> None:
        """Close the files without another write. Blocks."""
        with self._lock:
            for descriptor in (self._file, self._log):
                if descriptor >= 0:
                    os.close(descriptor)
            self._file = self._log = -1
        if self._on_close is not None:
            self._on_close()

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have ``callback`` called when the files were closed."""
        self._on_close = callback

    def _disk_errors(self, doing: str, need_bytes: int = 1) -> AbstractContextManager[None]:
        return disk_errors(doing, self._part, need_bytes=need_bytes, free_bytes=self._disk.free_bytes)

    def _open_journal(self) -> None:
        self._log = os.open(self._journal, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        content = journal.parse(
            self._journal.read_bytes(), self.sha256, self.length, self._plan, len(self.chunks)
        )
        os.ftruncate(self._log, content.sound_bytes)
        if not content.sound_bytes:
            self._disk.append(self._log, journal.header_line(self.sha256, self.length, self._plan))
        # The file may have been lost or cut while its journal was not.
        size = os.fstat(self._file).st_size
        self._present = {i for i in content.indices if self.chunks[i].offset + self.chunks[i].length <= size}
        if self._present != content.indices:
            self._rewrite_journal()  # or it would vouch for what the file will be made of from now on

    def _preallocate(self) -> None:
        try:
            self._disk.preallocate(self._file, self.length)
            os.ftruncate(self._file, self.length)
        except OSError:
            if not self._present:
                # What was reserved before the disk was full would stay reserved for nothing.
                os.ftruncate(self._file, 0)
            raise

    def _salvage(self) -> None:
        """Take chunks that were written but not journaled: by their hash, where the file holds data.

        They are written again: a sync may have failed, and then they are in memory only, and count as clean.
        """
        for index, chunk in enumerate(self.chunks):
            if index in self._present or not self._holds_data(chunk):
                continue
            data = os.pread(self._file, chunk.length, chunk.offset)
            if hashlib.sha256(data).hexdigest() == chunk.sha256:
                self._disk.write_at(self._file, data, chunk.offset)
                self._present.add(index)
                self._unsynced.append(index)

    def _holds_data(self, chunk: Chunk) -> bool:
        try:
            return os.lseek(self._file, chunk.offset, os.SEEK_DATA) < chunk.offset + chunk.length
        except OSError:
            # ENXIO: nothing but a hole up to the end.
            return False

    def _is_right(self, chunk: Chunk) -> bool:
        digest = hashlib.sha256()
        offset, end = chunk.offset, chunk.offset + chunk.length
        while offset < end:
            data = os.pread(self._file, min(self._limits.copy_block_bytes, end - offset), offset)
            if not data:
                return False
            digest.update(data)
            offset += len(data)
        return digest.hexdigest() == chunk.sha256

    def _write(self, chunk: Chunk, data: bytes) -> None:
        if chunk not in self._planned:
            raise ValueError(f"chunk at {chunk.offset} is not part of {self.sha256}")
        if len(data) != chunk.length or hashlib.sha256(data).hexdigest() != chunk.sha256:
            raise WrongBytesError(
                f"{len(data)} bytes at {chunk.offset} of {self.sha256[:12]} do not match the signed manifest"
            )
        with self._lock, self._disk_errors("writing", len(data)):
            if self._file < 0:
                raise RuntimeError("this download is closed")
            for same in self._same[chunk.sha256]:
                if same not in self._present:
                    self._disk.write_at(self._file, data, self.chunks[same].offset)
                    self._present.add(same)
                    self._unsynced.append(same)
                    self._unsynced_bytes += len(data)
            due = self._monotonic() - self._synced_at >= self._limits.journal_sync_s
            if due or self._unsynced_bytes >= self._limits.journal_sync_bytes:
                self._flush_locked()

    def _flush(self) -> None:
        with self._lock, disk_errors("syncing", self._part):
            if self._file >= 0:
                self._flush_locked()

    def _flush_locked(self) -> None:
        if self._unsynced:
            try:
                self._disk.sync(self._file)
            except OSError:
                # The next sync would succeed, though the kernel has given these bytes up (Linux marks pages
                # clean that it could not write): they count only when they are written again.
                self._present.difference_update(self._unsynced)
                self._unsynced, self._unsynced_bytes = [], 0
                raise
            self._disk.append(self._log, journal.entry_lines(self._unsynced, self._plan))
            self._disk.sync(self._log)
        self._unsynced, self._unsynced_bytes, self._synced_at = [], 0, self._monotonic()

    def _finish(self, progress: Progress | None) -> Path:
        if self.missing():
            raise RuntimeError(f"{len(self.missing())} chunks of {self.sha256} are missing")
        self._flush()
        with disk_errors("verifying", self._part):
            found = hash_file(self._part, block_bytes=self._limits.copy_block_bytes, progress=progress)
        if found != self.sha256:
            self._recheck()
        with disk_errors("installing", self._part):
            path = self._store.adopt(self._part, self.sha256)
            self._disk.remove(self._journal)
        self.abandon()
        return path

    def _recheck(self) -> None:
        """Forget the chunks that are not what was written, and say so."""
        with self._lock, disk_errors("verifying", self._part):
            bad = {index for index, chunk in enumerate(self.chunks) if not self._is_right(chunk)}
            self._present -= bad
            self._rewrite_journal()
        if bad:
            raise DamagedDownloadError(
                f"{len(bad)} chunks of {self.sha256[:8]} came back damaged from the disk: fetching them again"
            )
        raise InconsistentManifestError(
            f"the chunks match the manifest, but together they are not its file {self.sha256[:12]}"
        )

    def _rewrite_journal(self) -> None:
        text = journal.header_line(self.sha256, self.length, self._plan)
        text += journal.entry_lines(sorted(self._present), self._plan)
        os.ftruncate(self._log, 0)
        self._disk.append(self._log, text)
        self._disk.sync(self._log)

    def _close(self) -> None:
        try:
            self._flush()
        finally:
            self.abandon()


def held_offsets(store: FileStore, sha256: str, chunks: Sequence[Chunk]) -> set[int]:
    """Where the chunks begin that a closed download surely has. Blocks."""
    try:
        data = store.journal_path(sha256).read_bytes()
    except FileNotFoundError:
        return set()
    length = sum(chunk.length for chunk in chunks)
    content = journal.parse(data, sha256, length, journal.plan_digest(sha256, chunks), len(chunks))
    return {chunks[index].offset for index in content.indices}

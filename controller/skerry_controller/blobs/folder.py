"""Blobs in a folder: ``sha256/ab/<hex>``. A file has its final name only when it is whole and synced."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from skerry_controller.blobs.store import PIECE_BYTES, BlobNotFoundError, BlobRefusedError
from skerry_controller.durable_files import make_private_folder, sync_folder
from skerry_controller.errors import WorldError
from skerry_protocol.names import check_sha256


class FolderBlobStore:
    """A :class:`BlobStore` over one folder of a local file system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def size(self, sha256: str) -> int | None:
        """Length in bytes, or None when there is no such blob."""
        return await asyncio.to_thread(self._size, sha256)

    async def write(self, sha256: str, pieces: AsyncIterator[bytes], *, max_bytes: int) -> int:
        """Store the pieces as this blob; durable when it returns."""
        path = self.path(sha256)
        try:
            file = await asyncio.to_thread(self._open_partial)
        except OSError as error:
            raise self._failed(error) from error
        partial = Path(file.name)
        try:
            with file:
                length = await self._receive(file, sha256, pieces, max_bytes)
            await asyncio.to_thread(_put_in_place, partial, path)
        except OSError as error:
            raise self._failed(error) from error
        finally:
            # Not in a thread: it must happen when the task is cancelled too.
            partial.unlink(missing_ok=True)  # noqa: ASYNC240 - as said, and quick
        return length

    async def check_room(self, length: int) -> None:
        """Refuse a blob of ``length`` bytes that does not fit.

        Raises:
            WorldError: Says how many bytes are missing.
        """
        free = await asyncio.to_thread(self._free_bytes)
        if length > free:
            raise WorldError(
                f"{length} bytes are needed in {self._folder} and {length - free} of them are missing:"
                " free space on that disk, then try again"
            )

    async def read_range(self, sha256: str, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``."""
        if offset < 0 or length < 0:
            raise ValueError(f"a range of {length} bytes at {offset}")
        return await asyncio.to_thread(self._read_range, sha256, offset, length)

    async def verify(self, sha256: str) -> bool:
        """Whether the stored bytes still have their hash."""
        return await asyncio.to_thread(self._verify, sha256)

    async def remove(self, sha256: str) -> None:
        """Remove the blob."""
        path = self.path(sha256)

        def remove() -> None:
            if path.exists():
                path.unlink()
                sync_folder(path.parent)

        try:
            await asyncio.to_thread(remove)
        except OSError as error:
            raise self._failed(error) from error

    async def discard_partials(self) -> None:
        """Remove what interrupted uploads left; for the start, when no upload is under way."""

        def discard() -> None:
            for partial in (self._folder / "partial").glob("*"):
                partial.unlink(missing_ok=True)

        await asyncio.to_thread(discard)

    async def _receive(
        self, file: BinaryIO, sha256: str, pieces: AsyncIterator[bytes], max_bytes: int
    ) -> int:
        digest, length = hashlib.sha256(), 0

        def add(piece: bytes) -> None:
            digest.update(piece)
            file.write(piece)

        async for piece in pieces:
            length += len(piece)
            if length > max_bytes:
                raise BlobRefusedError(f"the file is larger than the limit of {max_bytes} bytes")
            await asyncio.to_thread(add, piece)
        if digest.hexdigest() != sha256:
            raise BlobRefusedError(
                f"the {length} bytes that came have the SHA-256 {digest.hexdigest()}, not {sha256}: "
                "send them again"
            )
        await asyncio.to_thread(_sync, file)
        return length

    def _free_bytes(self) -> int:
        try:
            make_private_folder(self._folder)
            figures = os.statvfs(self._folder)
        except OSError as error:
            raise self._failed(error) from error
        return figures.f_bavail * figures.f_frsize

    def _open_partial(self) -> BinaryIO:
        partial = self._folder / "partial"
        make_private_folder(partial)
        descriptor, name = tempfile.mkstemp(dir=partial)
        os.close(descriptor)
        return Path(name).open("wb")

    def _size(self, sha256: str) -> int | None:
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from error

    def _read_range(self, sha256: str, offset: int, length: int) -> bytes:
        with self._open(sha256) as file:
            try:
                return os.pread(file.fileno(), length, offset)
            except OSError as error:
                raise self._failed(error) from error

    def _verify(self, sha256: str) -> bool:
        digest = hashlib.sha256()
        with self._open(sha256) as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
        return digest.hexdigest() == sha256

    def _open(self, sha256: str) -> FileIO:
        try:
            return FileIO(self.path(sha256), "rb")
        except FileNotFoundError as error:
            raise BlobNotFoundError(f"there is no blob with the SHA-256 {sha256}: upload the file") from error
        except OSError as error:
            raise self._failed(error) from error

    def path(self, sha256: str) -> Path:
        """Where the blob lies, or would."""
        return self._folder / "sha256" / check_sha256(sha256)[:2] / sha256

    def _failed(self, error: OSError) -> WorldError:
        return WorldError(
            f"the blob store in {self._folder} failed ({error.strerror}): check free space and permissions"
        )


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _put_in_place(partial: Path, path: Path) -> None:
    make_private_folder(path.parent)
    partial.replace(path)
    sync_folder(path.parent)

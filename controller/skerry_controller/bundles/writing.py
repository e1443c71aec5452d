"""Writes a bundle's folder: whole under its name, or not there. All functions block."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from skerry_controller.durable_files import sync_folder
from skerry_controller.errors import UsageError, WorldError
from skerry_protocol.bundle import SUMS, check_file_name

_SPARE_BYTES = 16 * 1024 * 1024
"""For what the file system needs beside the bytes, and for what devices write back."""


class BundleFolder:
    """A folder under a temporary name beside its own, which it gets once all of it is on the medium.

    Plain files and folders only, and no modes: a FAT stick knows no others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._staged = path.with_name(f"{path.name}.partial")
        self._sums: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Begin.

        Raises:
            UsageError: The path exists, or its folder does not.
            WorldError: The disk refused.
        """
        if self._path.exists() or self._path.is_symlink():
            raise UsageError(f"{self._path} exists already: choose another --output, or remove it")
        if not self._path.parent.is_dir():
            raise UsageError(f"there is no folder {self._path.parent}: is the stick mounted?")
        try:
            # What an interrupted export left.
            shutil.rmtree(self._staged, ignore_errors=True)
            self._staged.mkdir()
        except OSError as error:
            raise self._failed(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind that is not whole."""
        shutil.rmtree(self._staged, ignore_errors=True)

    def check_room(self, length: int) -> None:
        """Refuse what does not fit.

        Raises:
            UsageError: Says how many bytes are missing.
        """
        figures = os.statvfs(self._staged)
        free = figures.f_bavail * figures.f_frsize
        missing = length + _SPARE_BYTES - free
        if missing > 0:
            raise UsageError(
                f"the bundle needs {length + _SPARE_BYTES} bytes at {self._path.parent}, and {missing} of"
                " them are missing: free some there, or name a --base that the devices have"
            )

    def write(self, name: str, content: bytes) -> None:
        """Write one file.

        Raises:
            WorldError: The disk refused.
        """
        with self.new_file(name) as file:
            file.add(content)

    def new_file(self, name: str) -> "NewFile":
        """A file that is written piece by piece, in a ``with`` block.

        Raises:
            WorldError: The disk refused.
        """
        path = self._staged / check_file_name(name)
        try:
            path.parent.mkdir(exist_ok=True)
            return NewFile(path, lambda sha256: self._sums.update({name: sha256}))
        except OSError as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """Write the sums, and give the folder its name.

        Raises:
            WorldError: The disk refused.
        """
        sums = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(self._sums.items()))
        self.write(SUMS, sums.encode("ascii"))
        try:
            for folder in {self._staged, *(path.parent for path in self._staged.rglob("*"))}:
                sync_folder(folder)
            self._staged.rename(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> WorldError:
        return WorldError(
            f"cannot write to {self._path.parent}: {error.strerror}; check the stick, try again"
        )


class NewFile:
    """One file of a bundle that is being written; on the medium when the block ends."""

    def __init__(self, path: Path, on_sum: Callable[[str], None]) -> None:
        self._file = path.open("xb")
        self._path = path
        self._digest = hashlib.sha256()
        self._on_sum = on_sum

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file, self._disk():
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._on_sum(self._digest.hexdigest())

    def add(self, piece: bytes) -> None:
        """Write the next bytes.

        Raises:
            WorldError: The disk refused.
        """
        with self._disk():
            self._file.write(piece)
        self._digest.update(piece)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WorldError(
                f"cannot write {self._path.name}: {error.strerror}; check the stick, try again"
            ) from error

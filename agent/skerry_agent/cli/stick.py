"""A bundle's folder, as the command reads and writes it: regular files in it, and nothing else."""

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skerry_agent.errors import UsageError, WorldError
from skerry_protocol.bundle import BACK, HEAD, check_file_name

MAX_READ_BYTES = 16 * 1024 * 1024
"""Of one step: the daemon never asks for more."""
_PARTIAL = ".part"


class Stick:
    """A bundle on a stick that may hold anything.

    It follows no symbolic link below the bundle's folder, opens nothing but regular files, and writes nothing
    but what goes back to the controller.
    """

    def __init__(self, folder: Path) -> None:
        """Open a bundle.

        Raises:
            UsageError: There is no bundle in the folder.
        """
        self._folder = folder.resolve()
        self._writing: int | None = None
        if not (self._folder / HEAD).is_file():
            raise UsageError(
                f"{folder} is no bundle: there is no {HEAD} in it; name the folder that 'skerry artifact"
                " export' wrote, or a model file with --name"
            )

    def read(self, name: str, offset: int, length: int) -> bytes | None:
        """At most ``length`` bytes; None when there is no such file.

        Raises:
            WorldError: It cannot be read, or is no regular file.
        """
        if not 0 <= length <= MAX_READ_BYTES or offset < 0:
            raise ValueError(f"{length} bytes at {offset}")
        parts = check_file_name(name).split("/")
        try:
            with self._parent(parts, make=False) as parent:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(parts[-1], flags, dir_fd=parent)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise WorldError(f"{name} on the stick is no regular file: that is no bundle of ours")
                file.seek(offset)
                return file.read(length)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WorldError(f"cannot read {name} on the stick: {error.strerror}") from error

    def write(self, name: str, data: bytes, *, first: bool, last: bool) -> None:
        """Write the next bytes of a file; with the last ones it is synced and gets its name.

        Raises:
            WorldError: It cannot be written.
        """
        parts = check_file_name(name).split("/")
        if parts[0] != BACK:
            raise WorldError(f"the agent wants to write {name}: nothing but {BACK}/ is written")
        try:
            with self._parent(parts, make=True) as parent:
                if first:
                    self._begin(parts[-1] + _PARTIAL, parent)
                if self._writing is None:
                    raise WorldError(f"{name} was not begun")
                with os.fdopen(os.dup(self._writing), "wb") as file:
                    file.write(data)
                if last:
                    self._finish(parts[-1], parent)
        except OSError as error:
            raise WorldError(f"cannot write {name} onto the stick: {error.strerror}") from error

    def close(self) -> None:
        """Let go of a file that was not finished."""
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def _begin(self, name: str, parent: int) -> None:
        self.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._writing = os.open(name, flags, 0o644, dir_fd=parent)

    def _finish(self, name: str, parent: int) -> None:
        if self._writing is not None:
            os.fsync(self._writing)
        self.close()
        os.rename(name + _PARTIAL, name, src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)

    @contextmanager
    def _parent(self, parts: list[str], *, make: bool) -> Iterator[int]:
        """The folder of a file, opened step by step, so that no link leads away."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=descriptor)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                following = os.open(part, flags, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = following
            yield descriptor
        finally:
            os.close(descriptor)

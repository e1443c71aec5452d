"""One process at a time works on a folder."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from skerry_controller.errors import UsageError, WorldError

_MODE = 0o600


@contextmanager
def locked(path: Path, refuse: Callable[[str], UsageError]) -> Iterator[None]:
    """Hold the lock file while the block runs; the lock ends with the process, however it ends.

    Args:
        path: The lock file; made when it is missing.
        refuse: Makes the error for when another process, named by its id, holds it.

    Raises:
        UsageError: Another process holds it: what ``refuse`` made.
        WorldError: The lock file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except OSError as error:
        raise WorldError(f"cannot open {path}: {error.strerror}; check the folder's owner") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise refuse(holder) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)

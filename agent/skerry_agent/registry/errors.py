"""What can go wrong with files and names on this device."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from skerry_agent.database import DatabaseFullError
from skerry_agent.errors import PeerError, UsageError, WorldError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class ModelNotFoundError(UsageError):
    """No artifact, slot or channel has this name; the message lists what exists."""


class ModelRefusedError(UsageError):
    """The file cannot be imported: empty, truncated, no GGUF, or its name is taken by other bytes."""


class ModelInUseError(UsageError):
    """The artifact is active, or the version to go back to: it cannot be removed."""


class SlotError(UsageError):
    """The slot cannot do that: unknown, nothing to go back to, or not for this artifact."""


class NoSpaceError(WorldError):
    """There is too little room on the disk or in the budget, also after collecting garbage.

    Attributes:
        missing_bytes: So much more is needed.
    """

    def __init__(self, message: str, *, missing_bytes: int) -> None:
        super().__init__(message)
        self.missing_bytes = missing_bytes


class StorageError(WorldError):
    """The disk failed to read, write or sync."""


class WrongBytesError(PeerError):
    """A chunk does not have the hash that its manifest gives."""


class DamagedDownloadError(WorldError):
    """Bytes that were verified came back different from the disk; they have to be fetched again."""


class InconsistentManifestError(PeerError):
    """All chunks are right, but together they are not the file that the manifest names."""


def is_full_disk(error: BaseException) -> bool:
    """Whether an error, or what it came from, is a full disk, whatever noticed it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NoSpaceError | DatabaseFullError):
            return True
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            return True
        cause = cause.__cause__
    return False


@contextmanager
def disk_errors(
    doing: str, path: Path, *, need_bytes: int = 1, free_bytes: Callable[[Path], int] | None = None
) -> Iterator[None]:
    """Turn an ``OSError`` into an error that says what could not be done to which file.

    Args:
        doing: What, as in "writing".
        path: The file.
        need_bytes: How much room that needs.
        free_bytes: How much the filesystem of a folder has.

    Raises:
        NoSpaceError: The disk, or the quota, is full.
        StorageError: Anything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            missing = _missing(need_bytes, path.parent, free_bytes)
            raise NoSpaceError(
                f"the disk is full: {doing} {path} failed and {missing} bytes are missing; free some space",
                missing_bytes=missing,
            ) from error
        raise StorageError(f"{doing} {path} failed: {error.strerror or error}") from error


def _missing(need_bytes: int, folder: Path, free_bytes: Callable[[Path], int] | None) -> int:
    """What is lacking; all of it where the disk claims to have room (a quota, reserved blocks)."""
    need_bytes = max(need_bytes, 1)
    free = 0
    if free_bytes is not None:
        with suppress(OSError):
            free = free_bytes(folder)
    return need_bytes - free if free < need_bytes else need_bytes

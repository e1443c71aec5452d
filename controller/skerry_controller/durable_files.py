"""Files that survive a power cut: whole or absent, on the medium when the call returns."""

import contextlib
import os
import tempfile
from pathlib import Path

from skerry_controller.errors import WorldError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_STAGED = ".tmp"


def write_durably(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace ``path`` by ``content``: temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        WorldError: The disk refused (full, read-only, no permission).
    """
    try:
        staged = stage(path, content, mode)
        try:
            staged.replace(path)
        except OSError:
            staged.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise WorldError(
            f"cannot write {path}: {error.strerror}; check free space and permissions"
        ) from error


def stage(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> Path:
    """Write and sync ``content`` under a temporary name in the folder of ``path``; return that name.

    Raises:
        OSError: The disk refused; nothing is left behind.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_STAGED, dir=path.parent)
    staged = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode != PRIVATE_FILE:  # which mkstemp gave it; FAT sticks refuse any change of mode
                os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    return staged


def discard_staged(folder: Path) -> None:
    """Remove what interrupted writes left in ``folder`` and below; for the start, when nobody writes.

    Raises:
        WorldError: The disk refused.
    """
    try:
        for rest in folder.rglob(f".*{_STAGED}"):
            rest.unlink(missing_ok=True)
    except OSError as error:
        raise WorldError(f"cannot tidy up {folder}: {error.strerror}; check its permissions") from error


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable.

    Raises:
        OSError: The disk refused.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Create ``folder`` (and what is missing above it) for this user alone, or tighten the existing one.

    Raises:
        WorldError: It cannot be created.
    """
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        # FAT sticks know no modes, and say so in different ways; the keys on them are encrypted.
        with contextlib.suppress(PermissionError):
            folder.chmod(PRIVATE_FOLDER)
        sync_folder(folder.parent)
    except OSError as error:
        raise WorldError(f"cannot create the folder {folder}: {error.strerror}") from error


def read_file(path: Path) -> bytes | None:
    """The file's bytes, or None when there is none.

    Raises:
        WorldError: It exists but cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WorldError(f"cannot read {path}: {error.strerror}") from error

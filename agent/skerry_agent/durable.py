"""File writes that survive a power cut: whole and on the disk, or not there at all.

The order is always the same: write under a temporary name in the same folder, fsync the file, rename it over
the final name, fsync the folder. All functions block; call them in a thread where that matters.
"""

import contextlib
import os
import secrets
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"
"""What leftovers of an interrupted write end with; their owner may delete them at start."""


def fsync_folder(folder: Path) -> None:
    """Make creations, renames and removals in ``folder`` durable.

    Raises:
        OSError: The folder is not there, or the disk failed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make the content of a file durable.

    Raises:
        OSError: The file is not there, or the disk failed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_synced(source: Path, target: Path) -> None:
    """Move a file over ``target`` on the same filesystem; afterwards content and name are durable.

    Raises:
        OSError: The rename or one of the syncs failed; ``target`` is then the old or the new file.
    """
    fsync_file(source)
    source.replace(target)
    fsync_folder(target.parent)
    if source.parent != target.parent:
        fsync_folder(source.parent)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a whole file: readers, and the next start, see the old content or all of the new.

    Args:
        path: The final name; its folder must exist.
        data: The content.
        mode: Permissions of the file, whatever the umask says; use 0o600 for secrets.

    Raises:
        OSError: Nothing was replaced, unless only the last sync of the folder failed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    fsync_folder(path.parent)


def remove_synced(path: Path) -> None:
    """Remove a file so that it stays removed; one that is not there is fine.

    Raises:
        OSError: It could not be removed.
    """
    path.unlink(missing_ok=True)
    fsync_folder(path.parent)


def settle_folder(folder: Path) -> None:
    """At start: make the names in a folder durable as a killed process left them, and drop its rests.

    Until then a name may be seen that a power cut takes back. A folder that is not there is fine. Its owner
    alone may call it, before it writes there.

    Raises:
        OSError: The disk failed.
    """
    if not folder.is_dir():
        return
    for rest in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        rest.unlink(missing_ok=True)
    fsync_folder(folder)


def make_folder(folder: Path, *, mode: int = 0o755) -> Path:
    """Create a folder and its parents durably, and return it; one that exists is left as it is.

    Raises:
        OSError: It could not be created, or a file has its name.
    """
    missing = []
    parent = folder
    while not parent.is_dir():
        missing.append(parent)
        parent = parent.parent
    for new in reversed(missing):
        new.mkdir(mode=mode, exist_ok=True)
        fsync_folder(new.parent)
    return folder

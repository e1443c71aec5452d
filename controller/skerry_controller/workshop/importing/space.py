"""Whether the disk has room, asked before the first byte."""

import shutil
from pathlib import Path

from skerry_controller.errors import WorldError
from skerry_controller.workshop.importing.errors import NoSpaceError
from skerry_controller.workshop.importing.limits import DEFAULT_IMPORT_LIMITS

_MIB = 1024 * 1024


def require_space(
    folder: Path, needed_bytes: int, what: str, *, reserve_bytes: int = DEFAULT_IMPORT_LIMITS.reserve_bytes
) -> None:
    """Return when the disk of ``folder`` has room for so much and the reserve.

    Raises:
        NoSpaceError: It has not; gives the numbers.
        WorldError: The disk cannot be asked.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise WorldError(f"cannot ask how much room {folder} has: {error.strerror}") from error
    if needed_bytes + reserve_bytes > free:
        raise NoSpaceError(
            f"{what} needs {needed_bytes / _MIB:.0f} MiB and {reserve_bytes / _MIB:.0f} MiB in reserve; the "
            f"disk of {folder} has {free / _MIB:.0f} MiB free: make room, or give another library with --data"
        )

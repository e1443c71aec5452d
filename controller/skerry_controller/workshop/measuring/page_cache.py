"""The page cache's share of a file: dropping it, and seeing how much is left. Linux."""

import ctypes
import mmap
import os
from pathlib import Path

from skerry_controller.errors import WorldError


def drop_cached(path: Path) -> None:
    """Ask the kernel to forget a file's pages. Pages that some program maps stay.

    Raises:
        WorldError: The file cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise WorldError(f"cannot read {path}: {error.strerror}") from error
    try:
        os.fsync(descriptor)  # pages that are not written yet would stay
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def cached_share(path: Path) -> float | None:
    """Which share of a file's pages lies in the page cache; None when the system does not tell."""
    size = path.stat().st_size
    if not size:
        return 0.0
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    library = ctypes.CDLL(None, use_errno=True)
    answers = (ctypes.c_ubyte * pages)()
    # Private and writable, so that ctypes can take its address; nothing is written.
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
        start = ctypes.c_char.from_buffer(mapped)
        code = library.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), answers)
        del start  # or the mapping cannot be closed
    return sum(page & 1 for page in answers) / pages if code == 0 else None

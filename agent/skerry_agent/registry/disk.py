"""What the registry asks of the disk, in one place, so that tests can make each of it fail."""

import os
from pathlib import Path

from skerry_agent import durable


class Disk:
    """The real disk. All methods block and raise ``OSError``."""

    def free_bytes(self, folder: Path) -> int:
        """Bytes that an unprivileged process may still write on the folder's filesystem."""
        figures = os.statvfs(folder)
        return figures.f_bavail * figures.f_frsize

    def preallocate(self, descriptor: int, length: int) -> None:
        """Reserve ``length`` bytes for a file, so that a later write cannot run out of room."""
        os.posix_fallocate(descriptor, 0, length)

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of ``data`` at ``offset``."""
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written

    def append(self, descriptor: int, data: bytes) -> None:
        """Write all of ``data`` at the end of a file that was opened for appending."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int) -> None:
        """Make the file's content durable."""
        os.fdatasync(descriptor)

    def replace_synced(self, source: Path, target: Path) -> None:
        """Move a file to its final name, durably."""
        durable.replace_synced(source, target)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is not there is fine."""
        path.unlink(missing_ok=True)

"""Verified targets on disk, by hash. Every read is hashed again, so a damaged file is as good as none."""

import contextlib
import hashlib
import threading
from collections.abc import Collection
from pathlib import Path

from skerry_agent.durable import make_folder, write_atomic
from skerry_agent.errors import WorldError


class TargetCache:
    """Files named by their SHA-256 in one folder, bounded in bytes. All methods block."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def read(self, sha256: str) -> bytes | None:
        """The target's bytes, or None when they are not here (any more)."""
        try:
            data = (self._folder / sha256).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def latest(self, sha256s: Collection[str]) -> str | None:
        """Which of these came last; None when none is here."""
        times = []
        for sha256 in sha256s:
            with contextlib.suppress(OSError):
                times.append(((self._folder / sha256).stat().st_mtime_ns, sha256))
        return max(times, default=(0, None))[1]

    def write(self, sha256: str, data: bytes) -> None:
        """Keep verified bytes; the oldest files make room.

        Raises:
            WorldError: The disk refused.
        """
        try:
            with self._lock:
                make_folder(self._folder)
                write_atomic(self._folder / sha256, data)
                self._make_room(keep=sha256)
        except OSError as error:
            raise WorldError(
                f"cannot store a target in {self._folder}: {error.strerror}; check free space and permissions"
            ) from error

    def keep_only(self, sha256s: Collection[str]) -> None:
        """Forget what no metadata lists any more, and left-overs of interrupted writes."""
        with self._lock, contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if path.name not in sha256s:
                    path.unlink(missing_ok=True)

    def _make_room(self, keep: str) -> None:
        files = sorted(
            ((path.stat().st_mtime_ns, path.stat().st_size, path) for path in self._folder.iterdir()),
            reverse=True,
        )
        total = 0
        for _, size, path in files:
            total += size
            if total > self._max_bytes and path.name != keep:
                path.unlink(missing_ok=True)

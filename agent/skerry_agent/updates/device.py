"""The real device: its architecture, labels, and the memory that a model could have."""

import platform
from collections.abc import Callable, Mapping
from pathlib import Path

_MEMORY = Path("/proc/meminfo")
_KIB = 1024


class LinuxDevice:
    """Reads ``/proc``.

    Args:
        labels: The device's labels, asked anew each time.
        serving_bytes: Memory of the runners that serve now, in bytes; it could be had for a trial.
        meminfo: For tests.
    """

    def __init__(
        self,
        labels: Callable[[], Mapping[str, str]] = dict,
        serving_bytes: Callable[[], int] = lambda: 0,
        meminfo: Path = _MEMORY,
    ) -> None:
        self._labels = labels
        self._serving_bytes = serving_bytes
        self._meminfo = meminfo

    def facts(self) -> Mapping[str, str]:
        """Labels, and ``arch`` as ``platform.machine()`` gives it."""
        return {**self._labels(), "arch": platform.machine()}

    def model_memory_bytes(self) -> int:
        """What the kernel estimates to be available, and what serves now."""
        for line in self._meminfo.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * _KIB + self._serving_bytes()
        return self._serving_bytes()

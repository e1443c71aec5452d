"""How busy the cores are that this process may use, and how much of that is its own doing (Linux)."""

import os
import time
from pathlib import Path
from typing import NamedTuple

PROC_STAT = Path("/proc/stat")
FIRST_IDLE, AFTER_IDLE = 3, 5  # of a cpu line's numbers: idle and iowait
GUEST = 8  # guest time is in user time already


class CpuTimes(NamedTuple):
    """Clocks in seconds: of the wall, of all work on our cores, and of this process."""

    wall: float
    busy: float
    own: float


class CpuClock:
    """Reads the kernel's counters.

    Args:
        stat: The kernel's file.
        cores: Numbers of the cores to look at; by default those that this process may use.
    """

    def __init__(self, stat: Path = PROC_STAT, cores: frozenset[int] | None = None) -> None:
        self._stat = stat
        self._cores = cores if cores is not None else frozenset(os.sched_getaffinity(0))
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")

    @property
    def cores(self) -> int:
        """How many cores it looks at."""
        return len(self._cores)

    def read(self) -> CpuTimes | None:
        """The clocks now; None where the kernel does not tell (a container without /proc)."""
        try:
            text = self._stat.read_text()
        except OSError:
            return None
        ticks = 0
        for line in text.splitlines()[1:]:
            if not line.startswith("cpu"):
                break  # what follows is long
            name, *numbers = line.split()
            if int(name[3:]) in self._cores:
                parts = [int(number) for number in numbers[:GUEST]]
                ticks += sum(parts) - sum(parts[FIRST_IDLE:AFTER_IDLE])
        return CpuTimes(time.monotonic(), ticks * self._tick_s, time.process_time())

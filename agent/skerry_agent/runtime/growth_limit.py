"""A bound on what a runner may allocate once it is loaded, kept by the kernel; for the runner process only.

A request that would take more gets an error, or costs the runner; it never costs the device.
"""

import contextlib
import resource
from pathlib import Path

_KIB = 1024
OOM_SCORE = 500
"""Between a usual process (0) and the very first to go (1000)."""


def be_killed_first(score: Path = Path("/proc/self/oom_score_adj")) -> None:
    """When the device runs out of memory, the kernel shall rather take this process than the daemon."""
    with contextlib.suppress(OSError):
        score.write_text(str(OOM_SCORE))


def data_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Private writable memory of this process, in bytes, touched or not; 0 when the kernel does not tell.

    Mapped weights are none of it. It is what Linux holds against RLIMIT_DATA.
    """
    try:
        for line in status.read_text("ascii").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * _KIB
    except (OSError, ValueError, IndexError):
        pass
    return 0


def limit_growth(growth_bytes: int) -> None:
    """Let this process have so much more than it has now, and no more."""
    now = data_bytes()
    if now:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = now + growth_bytes
        if most != resource.RLIM_INFINITY:
            limit = min(limit, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

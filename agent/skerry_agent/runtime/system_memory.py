"""What memory there is: for this device or this process's control group, and held by one process (Linux)."""

import os
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Resident memory of a process, in bytes.

    Attributes:
        private_bytes: Its own: heap, cache, buffers. It comes back when the process ends.
        file_bytes: Mapped files, such as a model's weights. The kernel counts them as available, since it can
            drop them and read them again.
    """

    private_bytes: int = 0
    file_bytes: int = 0


def process_memory(pid: int, proc: Path = Path("/proc")) -> ProcessMemory:
    """What a process holds; nothing when it is gone."""
    try:
        _, resident, shared = (proc / str(pid) / "statm").read_bytes().split()[:3]
        page = os.sysconf("SC_PAGESIZE")
        return ProcessMemory((int(resident) - int(shared)) * page, int(shared) * page)
    except (OSError, ValueError):
        return ProcessMemory()


def available_bytes(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory that a program can have without swapping, within the limits of its control groups (v2).

    None when the kernel does not tell.
    """
    found = [_available_here(proc), *_available_in_groups(proc, groups)]
    known = [size for size in found if size is not None]
    return min(known) if known else None


def _available_here(proc: Path) -> int | None:
    try:
        for line in (proc / "meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * _KIB
    except (OSError, ValueError, IndexError):
        pass
    return None


def _available_in_groups(proc: Path, groups: Path) -> list[int]:
    """What each group, from this process's own to the root, leaves of its limit."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    name = next((line[3:] for line in lines if line.startswith("0::/")), None)
    if name is None or ".." in name:
        return []
    folder = groups / name.lstrip("/")
    left = []
    for group in (folder, *folder.parents):
        if groups not in (group, *group.parents):
            break
        size = _available_in(group)
        if size is not None:
            left.append(size)
    return left


def _available_in(group: Path) -> int | None:
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        dropped = int(stat.get("active_file", 0)) + int(stat.get("inactive_file", 0))
    except (OSError, ValueError):
        return None  # no limit, or no such controller
    return max(0, limit - used + dropped)

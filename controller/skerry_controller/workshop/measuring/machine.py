"""The machine that measures, and the versions of what it measures with. Linux."""

import os
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from skerry_controller.version import VERSION
from skerry_controller.workshop.library import Machine
from skerry_protocol.device_facts import device_class, useful_features

_KIB: Final = 1024


def this_machine(root: Path = Path("/")) -> Machine:
    """What stands in every set of figures that is measured here.

    Args:
        root: Where ``/proc`` is.
    """
    facts = _cpuinfo(root / "proc/cpuinfo")
    arch = platform.machine()
    processor = " ".join((facts.get("model name") or facts.get("Model") or platform.processor()).split())
    cores = usable_cores()
    return Machine(
        name=platform.node() or "unknown",
        device_class=device_class(arch, processor, cores),
        arch=arch,
        processor=processor,
        cores=cores,
        features=useful_features(set((facts.get("flags") or facts.get("Features") or "").split())),
        memory_bytes=_memory_bytes(root / "proc/meminfo"),
    )


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def versions() -> dict[str, str]:
    """Of everything that decides a figure beside the machine."""
    return {
        "skerry": VERSION,
        "llama_cpp_python": _version("llama-cpp-python"),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def written(moment: datetime) -> str:
    """A moment as figures carry it: ISO 8601 in UTC."""
    return moment.isoformat(timespec="milliseconds")


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def _cpuinfo(path: Path) -> dict[str, str]:
    """The first value of each key: those of the first core."""
    facts: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return facts
    for line in lines:
        key, found, value = line.partition(":")
        if found:
            facts.setdefault(key.strip(), value.strip())
    return facts


def _memory_bytes(path: Path) -> int:
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * _KIB
    except (OSError, ValueError, IndexError):
        pass
    return 0

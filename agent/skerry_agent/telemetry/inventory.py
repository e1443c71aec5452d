"""What the machine is, as it stands in reports."""

import platform
from pathlib import Path

import psutil

from skerry_protocol.reported import Inventory

MAX_TEXT_CHARACTERS = 200


def read_inventory(folder: Path, *, root: Path = Path("/")) -> Inventory:
    """Read the device's facts; it blocks for a few milliseconds.

    Args:
        folder: Where the state lies, for the size of its disk.
        root: Where ``/proc`` and ``/etc`` are.

    Returns:
        What could be read; facts that could not are empty or 0.
    """
    return Inventory(
        hostname=platform.node()[:MAX_TEXT_CHARACTERS],
        arch=platform.machine(),
        os=_os_name(root),
        cpu_model=_cpu_model(root),
        cpu_count=psutil.cpu_count() or 0,
        memory_bytes=psutil.virtual_memory().total,
        disk_bytes=_disk_bytes(folder),
    )


def _os_name(root: Path) -> str:
    name = _value_of(root / "etc/os-release", "PRETTY_NAME", "=") or platform.system()
    return name.strip('"')[:MAX_TEXT_CHARACTERS]


def _cpu_model(root: Path) -> str:
    cpuinfo = root / "proc/cpuinfo"
    model = _value_of(cpuinfo, "model name", ":") or _value_of(cpuinfo, "Model", ":")
    return (model or platform.processor())[:MAX_TEXT_CHARACTERS]


def _value_of(path: Path, key: str, separator: str) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        name, found, value = line.partition(separator)
        if found and name.strip() == key:
            return value.strip()
    return ""


def _disk_bytes(folder: Path) -> int:
    try:
        return psutil.disk_usage(str(folder)).total
    except OSError:
        return 0

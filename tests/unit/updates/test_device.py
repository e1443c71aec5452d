import platform
from pathlib import Path

from skerry_agent.updates import LinuxDevice


def test_available_memory_counts_what_serves_now(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  4000 kB\nMemFree: 10 kB\nMemAvailable:    2048 kB\n")
    device = LinuxDevice(lambda: {"site": "lab"}, lambda: 1000, meminfo)
    assert device.model_memory_bytes() == 2048 * 1024 + 1000
    assert device.facts() == {"site": "lab", "arch": platform.machine()}


def test_the_real_machine_has_memory() -> None:
    assert LinuxDevice().model_memory_bytes() > 0

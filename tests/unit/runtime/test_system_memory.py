import os
from pathlib import Path

import pytest

from skerry_agent.runtime.system_memory import ProcessMemory, available_bytes, process_memory

PAGE = os.sysconf("SC_PAGESIZE")
KIB = 1024


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def meminfo(tmp_path: Path, available_kib: int = 4000) -> Path:
    proc = tmp_path / "proc"
    write(proc / "meminfo", f"MemTotal:  9000 kB\nMemFree: 10 kB\nMemAvailable:    {available_kib} kB\n")
    return proc


def group(folder: Path, limit: str, used: int, dropped: int = 0) -> None:
    write(folder / "memory.max", f"{limit}\n")
    write(folder / "memory.current", f"{used}\n")
    write(folder / "memory.stat", f"anon 5\nactive_file {dropped}\ninactive_file 0\n")


def test_available_is_what_the_kernel_estimates(tmp_path: Path) -> None:
    assert available_bytes(meminfo(tmp_path), tmp_path / "none") == 4000 * KIB


def test_the_tightest_control_group_counts_with_its_page_cache_as_free(tmp_path: Path) -> None:
    proc, groups = meminfo(tmp_path), tmp_path / "cgroup"
    write(proc / "self" / "cgroup", "0::/system.slice/skerry-agent.service\n")
    group(groups / "system.slice" / "skerry-agent.service", "max", 100)
    group(groups / "system.slice", str(2000 * KIB), 1500 * KIB, dropped=200 * KIB)
    assert available_bytes(proc, groups) == 700 * KIB
    group(groups / "system.slice" / "skerry-agent.service", str(10 * KIB), 20 * KIB)
    assert available_bytes(proc, groups) == 0


@pytest.mark.parametrize("text", ["", "MemTotal: 1 kB\n", "MemAvailable: many kB\n"])
def test_what_the_kernel_does_not_tell_is_unknown(tmp_path: Path, text: str) -> None:
    write(tmp_path / "meminfo", text)
    assert available_bytes(tmp_path, tmp_path) is None


def test_the_real_machine_has_memory() -> None:
    assert (available_bytes() or 0) > 0


def test_mapped_files_are_told_from_a_process_own_memory(tmp_path: Path) -> None:
    write(tmp_path / "7" / "statm", "900 100 30 5 0 60 0\n")
    assert process_memory(7, tmp_path) == ProcessMemory(70 * PAGE, 30 * PAGE)


def test_a_process_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert process_memory(7, tmp_path) == ProcessMemory()

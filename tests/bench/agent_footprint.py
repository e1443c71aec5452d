"""Memory and start time of the agent, beside a bare Python with the same imports, in the same run.

Prints a table and writes ``bench-agent-footprint.json``. The goals: under 64 MiB resident never enrolled,
under 80 MiB enrolled and connected, ready in under 1.5 s. No model is loaded.
"""

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from support.fleet import Controller, Device

MiB = 1024 * 1024
ROUNDS = 5
IDLE_S = 3.0
GOALS = {"agent, never enrolled": (64.0, 1.5), "agent, enrolled and connected": (80.0, 1.5)}
LOCAL_IMPORTS = "import skerry_agent.cli.app, skerry_agent.daemon"
FLEET_IMPORTS = (
    "import skerry_agent.cli.app, skerry_agent.daemon, skerry_agent.daemon.fleet, aiomqtt,"
    " tuf.ngclient._internal.trusted_metadata_set, apscheduler.schedulers.asyncio"
)


def rss_mib(pid: int) -> float:
    """Resident memory of one process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / MiB


def bare(imports: str) -> tuple[float, float]:
    """A bare Python that imports the same and does nothing: MiB, seconds."""
    code = f"{imports}\nprint(int(open('/proc/self/statm').read().split()[1]) * 4096)"
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) / MiB, time.monotonic() - start


def running(device: Device, ready: Callable[[], None]) -> tuple[float, float]:
    """The agent from start to ready, then idle: MiB, seconds to ready."""
    start = time.monotonic()
    device.start()
    seconds = time.monotonic() - start
    try:
        ready()
        time.sleep(IDLE_S)
        return rss_mib(device.service.pid), seconds
    finally:
        device.service.stop()


def measure(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """All cases in turn, so that a slow moment of the machine hits each of them."""
    controller = Controller.in_folder(folder)
    controller.init()
    controller.start()
    alone = Device.in_folder(folder, "alone")
    member = Device.in_folder(folder, "member")
    member.enroll(controller.enrollment_token(), controller)
    cases: dict[str, Callable[[], tuple[float, float]]] = {
        "bare Python, the agent's imports": lambda: bare(LOCAL_IMPORTS),
        "agent, never enrolled": lambda: running(alone, lambda: None),
        "bare Python, the fleet's imports as well": lambda: bare(FLEET_IMPORTS),
        "agent, enrolled and connected": lambda: running(member, member.wait_connected),
    }
    try:
        return {name: [case() for _ in range(ROUNDS)] for name, case in cases.items()}
    finally:
        controller.service.stop()


def main() -> int:
    """Measure, print, write; exit code 1 when a goal was missed."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder))
    table = Table("case", "RSS MiB (median)", "min-max", "seconds to ready", "min-max", "goal", box=None)
    rows = []
    missed = False
    for name, values in figures.items():
        memory, seconds = ([value[n] for value in values] for n in (0, 1))
        goal = GOALS.get(name)
        missed |= goal is not None and (max(memory) >= goal[0] or statistics.median(seconds) >= goal[1])
        row = {
            "case": name, "rss_mib": statistics.median(memory), "rss_mib_all": memory,
            "ready_s": statistics.median(seconds), "ready_s_all": seconds, "goal": goal,
        }  # fmt: skip
        rows.append(row)
        table.add_row(
            name, f"{row['rss_mib']:.1f}", f"{min(memory):.1f}-{max(memory):.1f}",
            f"{row['ready_s']:.2f}", f"{min(seconds):.2f}-{max(seconds):.2f}",
            f"< {goal[0]:g} MiB, < {goal[1]:g} s" if goal else "",
        )  # fmt: skip
    console.print(table)
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {platform.platform()}",
        "python": platform.python_version(),
        "skerry": version("skerry"),
        "rounds": ROUNDS,
        "cases": rows,
    }
    Path("bench-agent-footprint.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

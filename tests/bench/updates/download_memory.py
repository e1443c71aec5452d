"""How much a real agent grows while it downloads: resident memory before, and the most of it until
verified."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.fleet import Controller, Device

MiB: Final = 1 << 20
SETTLE_S: Final = 3.0
INTERVAL_S: Final = 0.02
DEADLINE_S: Final = 300.0
CHANNEL: Final = "bench/stable"
WAYS: Final = {"http": "true", "mqtt": "false"}
"""By what the setting ``updates.http_source`` says."""


@dataclass(frozen=True)
class Growth:
    """Resident MiB of the daemon (the runner of the trial is another process)."""

    way: str
    file_bytes: int
    before_mib: float
    most_mib: float
    seconds: float

    @property
    def grown_mib(self) -> float:
        """How much more."""
        return self.most_mib - self.before_mib


def measure(file: Path, folder: Path) -> list[Growth]:
    """One new device for each way."""
    controller = Controller.in_folder(folder)
    controller.init()
    controller.start()
    try:
        controller.run("artifact", "add", "bench@1", file, "--keys", controller.keys, timeout_s=600.0)
        controller.run("channel", "set", CHANNEL, "--selector", "bench=yes", "--artifact", "bench@1")
        return [_grow(way, file, folder, controller) for way in WAYS]
    finally:
        controller.service.stop()


def _grow(way: str, file: Path, folder: Path, controller: Controller) -> Growth:
    device = Device.in_folder(folder, way, {"SKERRY_AGENT_UPDATES__HTTP_SOURCE": WAYS[way]})
    device.enroll(controller.enrollment_token(), controller)
    device.start()
    try:
        device.wait_connected()
        time.sleep(SETTLE_S)
        before = resident_bytes(device.service.pid)
        began = time.monotonic()
        controller.run("device", "label", device.id, "bench=yes")
        most = before
        stored = device.state / "registry" / "files"
        while not any(stored.glob("sha256/??/*")):
            most = max(most, resident_bytes(device.service.pid))
            if time.monotonic() - began > DEADLINE_S:
                raise TimeoutError(f"{file} did not arrive over {way} in {DEADLINE_S:g} s")
            time.sleep(INTERVAL_S)
        seconds = time.monotonic() - began
    finally:
        device.service.stop()
    return Growth(way, file.stat().st_size, before / MiB, most / MiB, seconds)


def resident_bytes(pid: int) -> int:
    """Resident memory of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4096

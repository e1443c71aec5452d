"""How much a real agent grows while it downloads whole chunks, or makes them from patches: resident memory
before, and the most of it until the file was verified."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.updates.peers import Pair
from support.fleet import Controller, Device
from support.waiting import wait_for_slot

KiB: Final = 1 << 10
MiB: Final = 1 << 20
SETTLE_S: Final = 3.0
INTERVAL_S: Final = 0.05
DEADLINE_S: Final = 900.0
BUILD_TIMEOUT_S: Final = 1800.0
CHANNEL: Final = "bench/stable"
WAYS: Final = {"http": "true", "mqtt": "false"}
"""By what the setting ``updates.http_source`` says."""
_RESET_PEAK: Final = "5"


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
    """While a whole file comes, to one new device for each way."""
    controller = _controller(folder, {"bench@1": file})
    try:
        controller.run("channel", "set", CHANNEL, "--selector", "bench=yes", "--artifact", "bench@1")
        return [_download(way, file, folder, controller) for way in WAYS]
    finally:
        controller.service.stop()


def measure_patching(pair: Pair, folder: Path) -> Growth:
    """While a fine-tune is made from its parent and a delta, after a restart: memory of the first is gone."""
    controller = _controller(folder, {"bench@1": pair.old, "bench@2": pair.new})
    device = Device.in_folder(folder, "patches", {})
    try:
        controller.run(
            "artifact", "delta", "bench@2", "--base", "bench@1", "--keys", controller.keys,
            "--file", pair.new, "--base-file", pair.old, timeout_s=BUILD_TIMEOUT_S,
        )  # fmt: skip
        controller.run("channel", "set", CHANNEL, "--selector", "bench=yes", "--artifact", "bench@1")
        device.enroll(controller.enrollment_token("bench=yes"), controller)
        device.start()
        wait_for_slot(controller, device, CHANNEL, "committed", ref="bench@1", deadline_s=DEADLINE_S)
        device.service.stop()
        device.start()
        device.wait_connected()
        return _grow(
            "patches", pair.new, device, pair.new_sha256,
            lambda: controller.run("rollout", "create", CHANNEL, "--to", "bench@2", "--waves", "100%"),
        )  # fmt: skip
    finally:
        device.service.stop()
        controller.service.stop()


def _controller(folder: Path, artifacts: dict[str, Path]) -> Controller:
    controller = Controller.in_folder(folder)
    controller.init()
    controller.start()
    for ref, file in artifacts.items():
        controller.run("artifact", "add", ref, file, "--keys", controller.keys, timeout_s=600.0)
    return controller


def _download(way: str, file: Path, folder: Path, controller: Controller) -> Growth:
    device = Device.in_folder(folder, way, {"SKERRY_AGENT_UPDATES__HTTP_SOURCE": WAYS[way]})
    device.enroll(controller.enrollment_token(), controller)
    device.start()
    try:
        device.wait_connected()
        return _grow(
            way, file, device, "*",
            lambda: controller.run("device", "label", device.id, "bench=yes"),
        )  # fmt: skip
    finally:
        device.service.stop()


def _grow(way: str, file: Path, device: Device, sha256: str, begin: Callable[[], object]) -> Growth:
    """From before ``begin`` until the file is in its place."""
    time.sleep(SETTLE_S)
    process = Path(f"/proc/{device.service.pid}")
    before = status_bytes(process, "VmRSS")
    (process / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    began = time.monotonic()
    begin()
    stored = device.state / "registry" / "files" / "sha256"
    while not any(stored.glob(f"??/{sha256}")):
        if time.monotonic() - began > DEADLINE_S:
            raise TimeoutError(f"{file} did not arrive over {way} in {DEADLINE_S:g} s")
        time.sleep(INTERVAL_S)
    seconds = time.monotonic() - began
    return Growth(way, file.stat().st_size, before / MiB, status_bytes(process, "VmHWM") / MiB, seconds)


def status_bytes(process: Path, name: str) -> int:
    """Memory of a process, by the name of a line of its ``status``: VmRSS now, VmHWM at most."""
    lines = (process / "status").read_text(encoding="ascii").splitlines()
    found = next(line for line in lines if line.startswith(f"{name}:"))
    return int(found.split()[1]) * KiB

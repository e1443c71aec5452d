"""Whole fleets of real processes, with a tiny model so that a story takes seconds."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.fleet import Controller, Device
from support.refused import assert_no_traceback
from support.tiny_gguf import write_tiny_gguf

TINY = "tiny"
CHANNEL = "assistant/stable"
StartDevice = Callable[..., Device]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """A controller with its broker, and ``tiny@1`` published."""
    controller = Controller.in_folder(tmp_path_factory.mktemp("house"))
    with ExitStack() as stack:
        stack.callback(controller.service.stop)
        controller.init()
        controller.start()
        publish_tiny(controller, "1")
        controller.run("channel", "set", CHANNEL, "--selector", "site=lab")
        yield controller


@pytest.fixture(scope="session")
def lasting_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """A running controller for tests that leave nothing behind but artifacts and devices of their own."""
    controller = Controller.in_folder(tmp_path_factory.mktemp("lasting-house"))
    with ExitStack() as stack:
        stack.callback(controller.service.stop)
        controller.init()
        controller.start()
        yield controller
        assert_no_traceback(controller.service)


@pytest.fixture(scope="session")
def idle_house(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """A controller that was set up and does not run."""
    controller = Controller.in_folder(tmp_path_factory.mktemp("idle-house"))
    controller.init()
    return controller


@pytest.fixture(scope="session")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Apart"]:
    """A controller that does not run, with ``tiny@1``, and devices that were enrolled while it did."""
    folder = tmp_path_factory.mktemp("apart")
    controller = Controller.in_folder(folder)
    one_thread = {"SKERRY_AGENT_RUNTIME__THREADS": "1"}
    devices = {name: Device.in_folder(folder, name, one_thread) for name in ("hut", "barn", "mill")}
    with ExitStack() as stack:
        stack.callback(controller.service.stop)
        for device in devices.values():
            stack.callback(device.service.stop)
        controller.init()
        controller.start()
        for name, device in devices.items():
            device.enroll(controller.enrollment_token(f"site={name}"), controller)
        controller.service.stop()
        made = Apart(controller, devices)
        made.publish("tiny@1")
        yield made


@dataclass(frozen=True)
class Apart:
    """A fleet without a network."""

    controller: Controller
    devices: Mapping[str, Device]

    def publish(self, ref: str, *options: str | Path, file: Path | None = None, **shape: Any) -> Path:
        """Sign and publish a file, or a tiny model."""
        if file is None:
            file = write_tiny_gguf(self.controller.folder / f"{ref}.gguf", **shape)
        self.controller.at_rest("artifact", "add", ref, file, "--keys", self.controller.keys, *options)
        return file

    def export(self, ref: str, device: Device, output: Path, *options: str) -> Any:
        """Write a bundle for a device."""
        return self.controller.at_rest(
            "artifact", "export", ref, "--device", device.id, "--output", output, *options
        )


@pytest.fixture
def start_device(tmp_path: Path) -> Iterator[StartDevice]:
    """Enroll and start devices; all are stopped in the end."""
    with ExitStack() as stack:

        def start(controller: Controller, name: str = "box", *labels: str, **settings: str) -> Device:
            device = Device.in_folder(tmp_path, name, {"SKERRY_AGENT_RUNTIME__THREADS": "1", **settings})
            device.enroll(controller.enrollment_token(*labels), controller)
            stack.callback(device.service.stop)
            device.start()
            device.wait_connected()
            return device

        yield start


def publish_tiny(
    controller: Controller, version: str, *, seed: int = 0, name: str = TINY, **options: object
) -> Path:
    """Make a tiny model, sign and publish it; return its file."""
    file = write_tiny_gguf(controller.folder / f"{name}-{version}.gguf", seed=seed, **options)  # type: ignore[arg-type]  # passed through
    controller.run("artifact", "add", f"{name}@{version}", file, "--keys", controller.keys)
    return file

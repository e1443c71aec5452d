"""A full disk: refused with what is missing, the old model answers, and with room again it goes on."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from e2e.conftest import publish_tiny
from e2e.test_story import ask
from support.fleet import BIN, Controller, Device
from support.processes import Service, free_ports
from support.refused import agent, assert_no_traceback, refused, skerry, succeeded
from support.tiny_gguf import write_tiny_gguf
from support.waiting import finish_rollout, wait_for_slot

SIZE_BYTES = 24 * 1024 * 1024
MODEL_BYTES = 566_720
"""Length of every tiny model here."""


class Disk:
    """A small file system of its own, on which room gets scarce.

    Where nobody may mount one, a folder stands in for it, and the agent's disk budget for its size.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.budget_bytes = 0
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", str(folder)]
        self.mounted = (
            os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
        )

    @property
    def environment(self) -> dict[str, str]:
        """What an agent has to be told of it."""
        return {
            "SKERRY_AGENT_REGISTRY__MIN_FREE_BYTES": "0",
            "SKERRY_AGENT_REGISTRY__DISK_BUDGET_BYTES": str(self.budget_bytes),
        }

    @contextmanager
    def scarce(self, free_bytes: int, *, used_bytes: int = 0) -> Iterator[None]:
        """Leave so much room while the block runs.

        Args:
            free_bytes: How much.
            used_bytes: What models of the agent are there already, for the budget.
        """
        if not self.mounted:
            self.budget_bytes = used_bytes + free_bytes
            yield
            self.budget_bytes = 0
            return
        filler = self.folder / "filler"
        figures = os.statvfs(self.folder)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, figures.f_bavail * figures.f_frsize - free_bytes)
        try:
            yield
        finally:
            filler.unlink()

    def end(self) -> None:
        """Take it away, whoever still uses it."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.end()


def missing_bytes(message: str) -> int:
    found = re.search(r"(\d+) of them are missing", message)
    assert found, message
    return int(found[1])


def refs(state: Path) -> set[str]:
    listed = json.loads(succeeded(agent(state, "models", "--json")))["models"]
    return {model["ref"] for model in listed}


def agent_on(disk: Disk, name: str) -> Device:
    """An agent on the disk, whose log lies elsewhere."""
    device = Device(name, disk.folder, free_ports(1)[0], disk.environment)
    log = disk.folder.with_name(f"{name}.log")
    command: list[str | Path] = [BIN / "skerry-agent", "run", "--config", config_of(device)]
    device.service = Service(name, command, log, device.environment())
    return device


def config_of(device: Device) -> Path:
    return device.folder / f"{device.name}.toml"


def restarted(device: Device, disk: Disk) -> Device:
    """Where settings stand in for the disk, the agent has to read them."""
    device.service.stop()
    again = agent_on(disk, device.name)
    again.id = device.id
    again.start()
    return again


def test_an_import_says_how_much_is_missing_and_with_room_it_works(disk: Disk, tmp_path: Path) -> None:
    first, second = (write_tiny_gguf(tmp_path / f"{n}.gguf", seed=40 + n) for n in range(2))
    state = disk.folder / "state"
    succeeded(agent(state, "import", first, "--name", "first@1", **disk.environment))
    with disk.scarce(MODEL_BYTES // 2, used_bytes=MODEL_BYTES):
        done = agent(state, "import", second, "--name", "second@1", **disk.environment)
        line = refused(done, f"{MODEL_BYTES} bytes are needed", "free space on the disk, remove models")
        assert 0 < missing_bytes(line) < MODEL_BYTES
        assert list((state / "registry" / "partial").iterdir()) == []
    succeeded(agent(state, "import", second, "--name", "second@1", **disk.environment))
    assert refs(state) == {"local/first@1", "local/second@1"}


def test_a_running_agent_on_a_full_disk_refuses_an_import_and_answers(disk: Disk, tmp_path: Path) -> None:
    first, second = (write_tiny_gguf(tmp_path / f"{n}.gguf", seed=42 + n) for n in range(2))
    device = agent_on(disk, "box")
    device.start()
    try:
        succeeded(agent(device.state, "import", first, "--name", "first@1"))
        succeeded(agent(device.state, "activate", "first@1"))
        answer = ask(device, "first")
        with disk.scarce(0, used_bytes=MODEL_BYTES):
            if not disk.mounted:
                device = restarted(device, disk)
            line = refused(agent(device.state, "import", second, "--name", "second@1"), "bytes are needed")
            assert 0 < missing_bytes(line) <= MODEL_BYTES
            assert ask(device, "first") == answer
            assert list((device.state / "incoming").iterdir()) == []
        if not disk.mounted:
            device = restarted(device, disk)
        succeeded(agent(device.state, "import", second, "--name", "second@1"))
    finally:
        device.service.stop()
        assert_no_traceback(device.service)


def test_an_agent_that_cannot_start_on_a_full_disk_says_so_and_starts_with_room(disk: Disk) -> None:
    if not disk.mounted:
        pytest.skip("needs the right to mount a small file system: run the tests as root")
    device = agent_on(disk, "box")
    device.start()
    device.service.stop()
    with disk.scarce(0):
        done = agent(device.state, "run", "--config", config_of(device), **device.environment())
        refused(done, f"no room on the disk for {device.state}", "free some space")
    device.start()
    assert device.json("status")["running"]
    device.service.stop()


def test_a_rollout_that_does_not_fit_is_refused_and_goes_on_with_room(
    lasting_house: Controller, disk: Disk
) -> None:
    house, channel = lasting_house, "tight/stable"
    publish_tiny(house, "1", seed=44, name="tight")
    publish_tiny(house, "2", seed=45, name="tight")
    house.run("channel", "set", channel, "--selector", "case=disk")
    device = agent_on(disk, "tight")
    device.enroll(house.enrollment_token("case=disk"), house)
    device.start()
    try:
        device.wait_connected()
        assert finish_rollout(house, channel, "tight@1")["state"] == "succeeded"
        answer = ask(device, channel)
        with disk.scarce(MODEL_BYTES // 2, used_bytes=MODEL_BYTES):
            if not disk.mounted:
                device = restarted(device, disk)
            rollout = finish_rollout(house, channel, "tight@2")
            assert rollout["state"] == "paused"
            slot = wait_for_slot(house, device, channel, "refused", ref="tight@1")
            assert slot["reason"]["code"] == "no_space"
            missing = missing_bytes(slot["reason"]["message"])
            assert 0 < missing <= MODEL_BYTES
            assert f"{missing} of them are missing" in house.run("rollout", "show", rollout["id"])
            assert ask(device, channel) == answer
        if not disk.mounted:
            device = restarted(device, disk)
        house.run("rollout", "resume", rollout["id"])
        wait_for_slot(house, device, channel, "committed", ref="tight@2")
        assert ask(device, channel) != answer
    finally:
        device.service.stop()
        assert_no_traceback(device.service)


def test_a_controller_on_a_full_disk_publishes_nothing_and_goes_on_with_room(disk: Disk) -> None:
    if not disk.mounted:
        pytest.skip("needs the right to mount a small file system: run the tests as root")
    house = Controller.in_folder(disk.folder / "house")
    log = disk.folder.with_name("controller.log")
    house.service = Service(
        "controller", [BIN / "skerry", "serve", "--data", house.data], log, house.environment()
    )
    house.init()
    file = write_tiny_gguf(disk.folder.with_name("one.gguf"), seed=46)
    add = partial(skerry, house, "artifact", "add", "one@1", file, "--keys", house.keys)
    house.start()
    try:
        with disk.scarce(0):
            line = refused(
                add(), f"{MODEL_BYTES} bytes are needed", "free space on that disk, then try again"
            )
            assert 0 < missing_bytes(line) <= MODEL_BYTES
            refused(
                skerry(house, "channel", "set", "a/b", "--selector", "x=y"),
                f"no room on the disk for {house.data}/controller.db: free some space, then try again",
            )
            assert house.json("artifact", "list") == []
        assert "is signed and published" in succeeded(add())
        succeeded(skerry(house, "channel", "set", "a/b", "--selector", "x=y"))
        assert "FAILED" not in house.run("artifact", "verify", "one@1")
    finally:
        house.service.stop()
        assert_no_traceback(house.service)

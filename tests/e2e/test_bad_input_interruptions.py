"""Ctrl-C and kill -9 in the middle: no traceback, nothing half done, and the same command again works."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.fleet import BIN, Controller, Device
from support.processes import free_ports, wait_for
from support.refused import agent, assert_no_traceback, ended_by, refused, skerry, succeeded, was_interrupted
from support.slow_link import SlowLink
from support.tiny_gguf import write_tiny_gguf

SLOW_BITS_PER_S = 2_000_000
STATE_SETTINGS = {"SKERRY_AGENT_REGISTRY__MIN_FREE_BYTES": "0"}
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose copy takes long enough to be interrupted."""
    file = tmp_path_factory.mktemp("large") / "large.gguf"
    return write_tiny_gguf(file, vocabulary_extra=30_000, embedding=256)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    device = Device.in_folder(tmp_path_factory.mktemp("running"), "box", STATE_SETTINGS)
    device.start()
    yield device
    device.service.stop()
    assert_no_traceback(device.service)


def check_end(number: signal.Signals, done: subprocess.CompletedProcess[str]) -> None:
    if number == signal.SIGINT:
        was_interrupted(done)
    else:
        assert done.returncode == -signal.SIGKILL


def holds(folder: Path, pattern: str = "*") -> Callable[[], bool]:
    return lambda: any(folder.glob(pattern))


def refs(state: Path) -> list[str]:
    listed = json.loads(succeeded(agent(state, "models", "--json")))["models"]
    return [model["ref"] for model in listed]


@SIGNALS
def test_an_upload(lasting_house: Controller, tmp_path: Path, number: signal.Signals) -> None:
    house, name = lasting_house, f"uploaded@{number.name.lower()}"
    file = write_tiny_gguf(tmp_path / "one.gguf", seed=50 + number)
    add: list[str | Path] = [BIN / "skerry", "artifact", "add", name, file, "--keys", house.keys]
    partial = house.data / "blobs" / "partial"
    port = free_ports(1)[0]
    with SlowLink(port, house.operator_port, SLOW_BITS_PER_S).running() as link:
        slow = {**house.environment(), "SKERRY_URL": f"http://127.0.0.1:{port}"}
        done = ended_by(number, add, slow, holds(partial))
        link.cut()
        check_end(number, done)
        wait_for(lambda: not holds(partial)(), "a rest of the upload stays")
    refused(skerry(house, "artifact", "show", name), f"there is no artifact {name}")
    assert "is signed and published" in succeeded(
        skerry(house, "artifact", "add", name, file, "--keys", house.keys)
    )
    assert "FAILED" not in house.run("artifact", "verify", name)


@SIGNALS
def test_an_import(tmp_path: Path, large: Path, number: signal.Signals) -> None:
    state = tmp_path / "state"
    partial = state / "registry" / "partial"
    load: list[str | Path] = [BIN / "skerry-agent", "import", large, "--name", "large@1", "--state", state]
    check_end(number, ended_by(number, load, STATE_SETTINGS, holds(partial, "import-*")))
    assert refs(state) == []
    assert not holds(partial)()
    succeeded(agent(state, "import", large, "--name", "large@1"))
    assert refs(state) == ["local/large@1"]


@SIGNALS
def test_an_import_into_a_running_agent(running: Device, large: Path, number: signal.Signals) -> None:
    name = f"large@{number.name.lower()}"
    load: list[str | Path] = [BIN / "skerry-agent", "import", large, "--name", name, "--state", running.state]
    incoming = running.state / "incoming"
    check_end(number, ended_by(number, load, {}, holds(incoming)))
    wait_for(lambda: not holds(incoming)(), "a rest of the import stays")
    assert f"local/{name}" not in refs(running.state)
    succeeded(agent(running.state, "import", large, "--name", name))
    assert f"local/{name}" in refs(running.state)


def test_kill_9_of_the_agent_during_an_import(running: Device, large: Path) -> None:
    load: list[str | Path] = [
        BIN / "skerry-agent",
        "import",
        large,
        "--name",
        "killed@1",
        "--state",
        running.state,
    ]
    client = subprocess.Popen(
        [str(part) for part in load], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(holds(running.state / "incoming"), "the import does not begin", poll_s=0.002)
    running.service.kill()
    stdout, stderr = client.communicate(timeout=30)
    refused(
        subprocess.CompletedProcess([], client.returncode, stdout, stderr),
        f"the daemon did not answer on {running.state / 'agent.sock'}",
    )
    running.start()
    assert list((running.state / "incoming").iterdir()) == []
    assert "local/killed@1" not in refs(running.state)
    succeeded(agent(running.state, "import", large, "--name", "killed@1"))


def test_the_watching_of_a_rollout(lasting_house: Controller, tmp_path: Path) -> None:
    house = lasting_house
    file = write_tiny_gguf(tmp_path / "one.gguf", seed=53)
    succeeded(skerry(house, "artifact", "add", "watched@1", file, "--keys", house.keys))
    house.run("channel", "set", "watched/stable", "--selector", "case=watched")
    device = Device.in_folder(tmp_path, "never-started")
    device.enroll(house.enrollment_token("case=watched"), house)
    rollout = house.json("rollout", "create", "watched/stable", "--to", "watched@1")["id"]
    watching = started(house, "rollout", "watch", rollout)
    assert watching.stdout is not None
    first = watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    stdout, stderr = watching.communicate(timeout=20)
    was_interrupted(subprocess.CompletedProcess([], watching.returncode, first + stdout, stderr))
    assert device.id in first + stdout
    assert house.json("rollout", "show", rollout)["state"] == "running"
    house.run("rollout", "abort", rollout)


class Moment:
    """Whether something changed below a folder since this was made."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self._folder, self._pattern = folder, pattern
        self._before = self._look()

    def __call__(self) -> bool:
        return bool(self._look() - self._before)

    def _look(self) -> set[tuple[Path, int]]:
        found = set()
        for path in self._folder.glob(self._pattern):
            with suppress(FileNotFoundError):
                found.add((path, path.stat().st_ino))
        return found


MOMENTS = {
    "uploading": ("blobs/partial", "*"),
    "signed": ("repository/models", "signed/*"),
}


def test_kill_9_of_the_controller_during_a_publication(idle_house: Controller, tmp_path: Path) -> None:
    house = idle_house
    try:
        house.start()
        for number, (name, (folder, pattern)) in enumerate(MOMENTS.items()):
            file = write_tiny_gguf(tmp_path / f"{name}.gguf", seed=60 + number)
            add = ("artifact", "add", f"{name}@1", file, "--keys", house.keys)
            moment = Moment(house.data / folder, pattern)
            client = started(house, *add)
            wait_for(moment, f"{name} is not seen", poll_s=0.0005)
            house.service.kill()
            stdout, stderr = client.communicate(timeout=60)
            if client.returncode != 0:  # else the answer came just before the kill
                line = refused(subprocess.CompletedProcess(add, client.returncode, stdout, stderr))
                assert "try again" in line or "skerry serve" in line
            house.start()
            succeeded(skerry(house, *add))
            assert "FAILED" not in house.run("artifact", "verify", f"{name}@1")
        assert {a["name"] for a in house.json("artifact", "list")} == set(MOMENTS)
        assert not list(house.data.rglob("*.tmp"))
    finally:
        house.service.stop()


def started(house: Controller, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(part) for part in (BIN / "skerry", *arguments)],
        env={**os.environ, **house.environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

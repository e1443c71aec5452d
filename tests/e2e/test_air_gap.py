"""A device that sees no network after its enrollment: updates come, and records go, on a stick."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import CHANNEL
from support.fleet import Controller, Device
from support.tiny_gguf import CHATML, write_tiny_gguf
from support.waiting import wait_for_event, wait_for_slot

OTHER_TEMPLATE = CHATML + "{# a fix #}"


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Controller, Device]]:
    """A controller that does not run, and a device that was enrolled while it did."""
    folder = tmp_path_factory.mktemp("apart")
    controller = Controller.in_folder(folder)
    device = Device.in_folder(folder, "hut", {"SKERRY_AGENT_RUNTIME__THREADS": "1"})
    with ExitStack() as stack:
        stack.callback(controller.service.stop)
        stack.callback(device.service.stop)
        controller.init()
        controller.start()
        device.enroll(controller.enrollment_token("site=hut"), controller)
        controller.service.stop()
        device.start()
        publish(controller, "1")
        at_rest(controller, "channel", "set", CHANNEL, "--selector", "site=hut", "--artifact", "tiny@1")
        yield controller, device


def at_rest(controller: Controller, *arguments: str | Path) -> Any:
    """``skerry … --data … --json`` on a controller that does not run."""
    return json.loads(controller.run(*arguments, "--data", controller.data, "--json"))


def publish(controller: Controller, version: str, **options: Any) -> None:
    file = write_tiny_gguf(controller.folder / f"tiny-{version}.gguf", **options)
    keys = ("--keys", controller.keys, "--data", controller.data)
    controller.run("artifact", "add", f"tiny@{version}", file, *keys)


def export(controller: Controller, device: Device, version: str, output: Path, *options: str) -> Any:
    return at_rest(
        controller,
        "artifact",
        "export",
        f"tiny@{version}",
        "--device",
        device.id,
        "--output",
        output,
        *options,
    )


def stored(controller: Controller, device: Device) -> tuple[int, int]:
    """Records of a device at the controller: all, and distinct ones."""
    with closing(sqlite3.connect(f"file:{controller.data / 'controller.db'}?mode=ro", uri=True)) as database:
        total, distinct = database.execute(
            "SELECT count(*), count(DISTINCT stream || ':' || sequence) FROM records WHERE device_id = ?",
            (device.id,),
        ).fetchone()
    return total, distinct


def test_updates_and_records_travel_on_a_stick_and_all_fits_once_there_is_a_network(
    apart: tuple[Controller, Device], tmp_path: Path
) -> None:
    controller, device = apart
    # To the device: the first version, whole.
    first = export(controller, device, "1", tmp_path / "trip-1")
    assert first["devices"] == [device.id]
    checked = subprocess.run(
        ["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "trip-1", check=False, timeout=30
    )
    assert checked.returncode == 0
    imported = device.json("import", tmp_path / "trip-1")
    assert (imported["outcome"], imported["slots"][CHANNEL]["active"]) == ("committed", "tiny@1")
    assert imported["written"]["records"] > 0
    again = device.json("import", tmp_path / "trip-1")
    assert (again["outcome"], again["generation"]) == ("committed", imported["generation"])

    # Back: what it runs, and its records, each once.
    taken = at_rest(controller, "telemetry", "import", tmp_path / "trip-1")[device.id]
    assert (taken["report"], taken["problems"]) == ("news", [])
    assert taken["stored"] == again["written"]["records"]
    repeated = at_rest(controller, "telemetry", "import", tmp_path / "trip-1")[device.id]
    assert (repeated["stored"], repeated["duplicates"]) == (0, taken["stored"])
    shown = at_rest(controller, "device", "show", device.id)
    assert shown["in_sync"]
    assert [slot["active"] for slot in shown["slots"]] == ["tiny@1"]

    # The next version: only what changed, and the acknowledgements of the trip before.
    publish(controller, "2", chat_template=OTHER_TEMPLATE)
    rollout = at_rest(
        controller, "rollout", "create", CHANNEL, "--to", "tiny@2", "--waves", "100%", "--soak", "0s"
    )
    second = export(controller, device, "2", tmp_path / "trip-2", "--base", "tiny@1")
    assert 0 < second["chunk_bytes"] < 32 * 1024 < first["chunk_bytes"] / 10
    imported = device.json("import", tmp_path / "trip-2")
    assert (imported["outcome"], imported["slots"][CHANNEL]["active"]) == ("committed", "tiny@2")
    assert imported["chunk_bytes"] == second["chunk_bytes"]
    assert imported["acknowledged"] == taken["stored"]
    older = device.run("import", tmp_path / "trip-1", check=False)
    assert older.startswith("1\n")
    assert "older_generation" in older

    at_rest(controller, "telemetry", "import", tmp_path / "trip-2")
    assert at_rest(controller, "rollout", "show", rollout["id"])["state"] == "succeeded"

    # A network after all: nothing twice, and no quarrel about versions or generations.
    controller.start()
    device.wait_connected()
    wait_for_slot(controller, device, CHANNEL, "committed", ref="tiny@2")
    wait_for_event(controller, device, "bundle_imported", code="older_generation")
    shown = controller.json("device", "show", device.id)
    assert shown["in_sync"]
    refused = [
        event["data"]["code"]
        for event in controller.json("device", "logs", device.id, "--since", "1h")
        if event["name"] in ("desired_refused", "metadata_refused", "ack_refused")
    ]
    assert sorted(refused) == ["metadata_rollback", "older_generation"]
    total, distinct = stored(controller, device)
    assert total == distinct > taken["stored"]
    late = controller.json("telemetry", "import", tmp_path / "trip-1")[device.id]
    assert (late["report"], late["stored"]) == ("known", 0)
    assert controller.json("device", "show", device.id)["slots"][0]["active"] == "tiny@2"

"""A device that sees no network after its enrollment: updates come, and records go, on a stick."""

import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from e2e.conftest import CHANNEL, Apart
from support.fleet import Controller, Device
from support.lora_gguf import write_lora_gguf
from support.processes import wait_for
from support.tiny_gguf import CHATML
from support.tuning import tuned_file
from support.waiting import wait_for_event, wait_for_slot

OTHER_TEMPLATE = CHATML + "{# a fix #}"


def stored(controller: Controller, device: Device) -> tuple[int, int]:
    """Records of a device at the controller: all, and distinct ones."""
    with closing(sqlite3.connect(f"file:{controller.data / 'controller.db'}?mode=ro", uri=True)) as database:
        total, distinct = database.execute(
            "SELECT count(*), count(DISTINCT stream || ':' || sequence) FROM records WHERE device_id = ?",
            (device.id,),
        ).fetchone()
    return total, distinct


def test_updates_and_records_travel_on_a_stick_and_all_fits_once_there_is_a_network(
    apart: Apart, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    controller, device = apart.controller, apart.devices["hut"]
    device.start()
    controller.at_rest("channel", "set", CHANNEL, "--selector", "site=hut", "--artifact", "tiny@1")
    # To the device: the first version, whole.
    first = apart.export("tiny@1", device, tmp_path / "trip-1")
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
    taken = controller.at_rest("telemetry", "import", tmp_path / "trip-1")[device.id]
    assert (taken["report"], taken["problems"]) == ("news", [])
    assert taken["stored"] == again["written"]["records"]
    repeated = controller.at_rest("telemetry", "import", tmp_path / "trip-1")[device.id]
    assert (repeated["stored"], repeated["duplicates"]) == (0, taken["stored"])
    shown = controller.at_rest("device", "show", device.id)
    assert shown["in_sync"]
    assert [slot["active"] for slot in shown["slots"]] == ["tiny@1"]

    # The next version: only what changed, and the acknowledgements of the trip before.
    apart.publish("tiny@2", chat_template=OTHER_TEMPLATE)
    rollout = controller.at_rest(
        "rollout", "create", CHANNEL, "--to", "tiny@2", "--waves", "100%", "--soak", "0s"
    )
    second = apart.export("tiny@2", device, tmp_path / "trip-2", "--base", "tiny@1")
    assert 0 < second["chunk_bytes"] < 32 * 1024 < first["chunk_bytes"] / 10
    imported = device.json("import", tmp_path / "trip-2")
    assert (imported["outcome"], imported["slots"][CHANNEL]["active"]) == ("committed", "tiny@2")
    assert imported["chunk_bytes"] == second["chunk_bytes"]
    assert imported["acknowledged"] == taken["stored"]
    older = device.run("import", tmp_path / "trip-1", check=False)
    assert older.startswith("1\n")
    assert "older_generation" in older

    controller.at_rest("telemetry", "import", tmp_path / "trip-2")
    assert controller.at_rest("rollout", "show", rollout["id"])["state"] == "succeeded"

    # A network after all: nothing twice, and no quarrel about versions or generations.
    controller.start()
    request.addfinalizer(controller.service.stop)
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


def test_a_pair_travels_while_its_bundle_counts_and_later_a_tuned_base_as_a_delta_with_its_adapter(
    apart: Apart, tmp_path: Path
) -> None:
    controller, device = apart.controller, apart.devices["mill"]
    base = controller.folder / "tiny@1.gguf"
    german = write_lora_gguf(tmp_path / "german.gguf", base, seed=1, rank=2)
    apart.publish("german@1", "--kind", "adapter", "--base", "tiny@1", file=german)
    channel = ("mill/stable", "--selector", "site=mill", "--artifact", "tiny@1", "--adapter", "german@1")
    controller.at_rest("channel", "set", *channel)
    device.start()
    short = apart.export("tiny@1", device, tmp_path / "short", "--with", "german@1", "--valid", "1s")
    apart.export("tiny@1", device, tmp_path / "trip-1", "--with", "german@1")
    wait_for(lambda: time.time() > short["expires_at"] + 1, "the bundle does not expire")
    assert "metadata_expired" in device.run("import", tmp_path / "short", check=False)
    slot = device.json("import", tmp_path / "trip-1")["slots"]["mill/stable"]
    assert (slot["state"], slot["active"]) == ("committed", "tiny@1+german@1")

    tuned = tuned_file(base, "tuned.gguf")
    apart.publish("tuned@1", "--base", "tiny@1", file=tuned)
    swiss = write_lora_gguf(tmp_path / "swiss.gguf", tuned, seed=2, rank=2)
    apart.publish("swiss@1", "--kind", "adapter", "--base", "tuned@1", file=swiss)
    pair = ("--to", "tuned@1", "--adapter", "swiss@1", "--waves", "100%", "--soak", "0s")
    controller.at_rest("rollout", "create", "mill/stable", *pair)
    made = apart.export("tuned@1", device, tmp_path / "trip-2", "--with", "swiss@1", "--base", "tiny@1")
    assert made["chunk_bytes"] < swiss.stat().st_size + base.stat().st_size / 6
    imported = device.json("import", tmp_path / "trip-2")
    assert imported["slots"]["mill/stable"]["active"] == "tuned@1+swiss@1"
    assert imported["chunk_bytes"] <= made["chunk_bytes"]

"""A fine-tune of what devices run already costs a small part of it, by each way over a network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import CHANNEL, TINY, StartDevice, publish_tiny
from support.fleet import Controller
from support.tiny_gguf import write_tiny_gguf
from support.tuning import tuned_file
from support.waiting import finish_rollout, wait_for_slot


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    made = Controller.in_folder(tmp_path / "house")
    try:
        made.init()
        made.start()
        yield made
    finally:
        made.service.stop()


def test_devices_with_the_base_fetch_only_what_changed(
    controller: Controller, start_device: StartDevice
) -> None:
    file = publish_tiny(controller, "1")
    controller.run("channel", "set", CHANNEL, "--selector", "site=lab", "--artifact", f"{TINY}@1")
    over_http = start_device(controller, "over-http", "site=lab")
    over_mqtt = start_device(controller, "over-mqtt", "site=lab", SKERRY_AGENT_UPDATES__HTTP_SOURCE="false")
    for device in (over_http, over_mqtt):
        wait_for_slot(controller, device, CHANNEL, "committed", ref=f"{TINY}@1")
    tuned = tuned_file(file, "tuned.gguf")
    keys = ("--keys", controller.keys)
    added = controller.json("artifact", "add", f"{TINY}@2", tuned, "--base", f"{TINY}@1", *keys)
    assert added["delta"]["outcome"] == "published"
    # What is there already is not made again, also not from the controller's own files.
    again = controller.json("artifact", "delta", f"{TINY}@2", "--base", f"{TINY}@1", *keys)
    assert again["outcome"] == "unchanged"
    assert finish_rollout(controller, CHANNEL, f"{TINY}@2")["state"] == "succeeded"
    for device in (over_http, over_mqtt):
        slot = wait_for_slot(controller, device, CHANNEL, "committed", ref=f"{TINY}@2")
        assert 0 < slot["bytes_fetched"] <= added["delta"]["pack_length"] * 1.1 + 2000
        assert slot["bytes_fetched"] < slot["bytes_total"] / 8
        # Two roles and a timestamp, the manifest and the index of the delta; packed, so fewer than they have.
        assert 1000 < slot["bytes_metadata"] < slot["bytes_fetched"]
    shown = controller.run("artifact", "show", f"{TINY}@2")
    assert f"delta from {TINY}@1" in shown
    # The other way, with the files read back from the controller.
    back = controller.json("artifact", "delta", f"{TINY}@1", "--base", f"{TINY}@2", *keys)
    assert back["outcome"] == "published"
    assert back["transfer_bytes"] < back["file_length"] / 8
    assert "verify" not in controller.run("artifact", "verify", f"{TINY}@1")


def test_deltas_are_made_at_a_controller_that_does_not_run(tmp_path: Path) -> None:
    house = Controller.in_folder(tmp_path / "house")
    house.init()
    file = write_tiny_gguf(tmp_path / "one.gguf", quantization="Q8_0")
    other = tuned_file(file, "two.gguf")
    at = ("--keys", house.keys, "--data", house.data)
    house.run("artifact", "add", "tiny@1", file, *at)
    refused = house.run("artifact", "add", "tiny@2", other, "--base", "tiny@0", *at, check=False)
    assert "there is no artifact tiny@0" in refused
    house.run("artifact", "add", "tiny@2", other, *at)
    said = house.run("artifact", "delta", "tiny@2", "--base", "tiny@1", "--file", other, *at)
    assert "is signed and published" in said
    wrong = house.run("artifact", "delta", "tiny@1", "--base", "tiny@2", "--file", other, *at, check=False)
    assert "is not the published file" in wrong

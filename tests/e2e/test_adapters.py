"""Adapters through whole fleets: over networks, on a stick, with deltas, and back again."""

from pathlib import Path
from typing import Any

import openai
import pytest

from e2e.conftest import CHANNEL, StartDevice, publish_tiny
from support.fleet import Controller, Device
from support.lora_gguf import write_lora_gguf
from support.processes import wait_for
from support.tuning import tuned_file
from support.waiting import finish_rollout, slot_report

LAB = ("--selector", "site=lab")


@pytest.fixture(scope="module")
def base(house: Controller) -> Path:
    """The file of ``tiny@1``."""
    return house.folder / "tiny-1.gguf"


@pytest.fixture(scope="module", autouse=True)
def germans(house: Controller, base: Path) -> list[Path]:
    """``german@1`` and ``german@2`` for ``tiny@1``, published."""
    files = [
        write_lora_gguf(house.folder / f"german-{seed}.gguf", base, seed=seed, rank=2) for seed in (1, 2)
    ]
    for version, file in enumerate(files, start=1):
        add_adapter(house, f"german@{version}", file, "tiny@1")
    return files


def add_adapter(controller: Controller, ref: str, file: Path, base: str, *options: str | Path) -> Any:
    kind = ("--kind", "adapter", "--base", base)
    return controller.json("artifact", "add", ref, file, *kind, "--keys", controller.keys, *options)


def wait_for_pair(controller: Controller, device: Device, state: str, *refs: str) -> dict[str, Any]:
    """Wait until a device reports its slot in a state, with a model and its adapters active."""

    def look() -> dict[str, Any] | None:
        slot = slot_report(controller, device, CHANNEL)
        return slot if slot.get("state") == state and active(slot) == list(refs) else None

    return wait_for(look, f"{device.name} does not report {' + '.join(refs)} as {state}")


def active(slot: dict[str, Any]) -> list[str]:
    version = slot.get("active") or {"ref": "", "adapters": []}
    return [version["ref"], *(adapter["ref"] for adapter in version.get("adapters", ()))]


def answer(device: Device, model: str = CHANNEL) -> str:
    with openai.OpenAI(base_url=f"{device.url}/v1", api_key="x", max_retries=0) as client:
        done = client.completions.create(
            model=model, prompt="the sea and the rock", max_tokens=6, temperature=0
        )
    return done.choices[0].text


def test_a_changed_adapter_costs_itself_and_goes_back_by_a_command(
    house: Controller, start_device: StartDevice, germans: list[Path]
) -> None:
    house.run("channel", "set", CHANNEL, *LAB, "--artifact", "tiny@1", "--adapter", "german@1")
    assert "tiny@1 + german@1" in house.run("channel", "list")
    device = start_device(house, "pair", "site=lab")
    wait_for_pair(house, device, "committed", "tiny@1", "german@1")
    assert "tiny@1 + german@1" in device.run("status")
    plain, first = answer(device, "tiny@1"), answer(device)
    assert first == answer(device, "german@1") != plain

    assert finish_rollout(house, CHANNEL, "tiny@1", "--adapter", "german@2")["state"] == "succeeded"
    slot = wait_for_pair(house, device, "committed", "tiny@1", "german@2")
    assert slot["bytes_fetched"] <= germans[1].stat().st_size < slot["bytes_total"] / 8
    second = answer(device)
    assert second not in (first, plain)

    house.run("device", "rollback", device.id, CHANNEL)
    wait_for_pair(house, device, "rolled_back", "tiny@1", "german@1")
    assert answer(device) == first
    # Nobody takes a base away below its adapters, neither there nor here.
    for refused in (
        house.run("artifact", "remove", "tiny@1", check=False),
        device.run("remove", "tiny@1", check=False),
    ):
        assert refused.startswith("1\n")
    assert answer(device, "tiny@1") == plain


def test_an_adapter_of_another_base_is_refused(house: Controller, germans: list[Path]) -> None:
    publish_tiny(house, "1", name="wide", embedding=128)
    wide = ("--kind", "adapter", "--base", "wide@1", "--keys", house.keys)
    assert "made for another model" in house.run(
        "artifact", "add", "french@1", germans[0], *wide, check=False
    )
    channel = ("channel", "set", "other/stable", *LAB, "--artifact", "wide@1", "--adapter", "german@1")
    assert "was not made for" in house.run(*channel, check=False)


def test_a_new_base_comes_as_a_delta_with_its_adapter_beside_it(
    house: Controller, start_device: StartDevice, base: Path
) -> None:
    house.run("channel", "set", "tuned/stable", "--selector", "site=mill", "--artifact", "tiny@1")
    device = start_device(house, "mill", "site=mill")
    wait_for(
        lambda: active(slot_report(house, device, "tuned/stable")) == ["tiny@1"], "the base does not serve"
    )
    tuned = tuned_file(base, "tuned.gguf")
    added = house.json("artifact", "add", "tiny@2", tuned, "--base", "tiny@1", "--keys", house.keys)
    file = write_lora_gguf(house.folder / "swiss.gguf", tuned, seed=3, rank=2)
    add_adapter(house, "swiss@1", file, "tiny@2")
    assert finish_rollout(house, "tuned/stable", "tiny@2", "--adapter", "swiss@1")["state"] == "succeeded"
    slot = slot_report(house, device, "tuned/stable")
    assert active(slot) == ["tiny@2", "swiss@1"]
    assert slot["bytes_fetched"] <= added["delta"]["transfer_bytes"] + file.stat().st_size + 2000
    # An adapter that was trained on is a delta, too.
    further = tuned_file(file, "further.gguf")
    add_adapter(house, "swiss@2", further, "tiny@2")
    delta = house.json("artifact", "delta", "swiss@2", "--base", "swiss@1", "--keys", house.keys)
    assert delta["outcome"] == "published"
    assert finish_rollout(house, "tuned/stable", "tiny@2", "--adapter", "swiss@2")["state"] == "succeeded"
    slot = slot_report(house, device, "tuned/stable")
    assert active(slot) == ["tiny@2", "swiss@2"]
    assert slot["bytes_fetched"] <= delta["transfer_bytes"] < further.stat().st_size / 3

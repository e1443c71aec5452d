"""One rollout gives each device the variant that is made for it, by what it is and by its labels."""

from pathlib import Path

import pytest

from e2e.conftest import CHANNEL, TINY, StartDevice
from skerry_controller.workshop.library import Library
from skerry_protocol.names import ArtifactRef
from support.fleet import Controller
from support.library import origin_of
from support.tiny_gguf import write_tiny_gguf
from support.tuning import tuned_file
from support.waiting import finish_rollout, wait_for_slot


def serving(house: Controller, device: str) -> str:
    reported = house.json("device", "show", device)["reported"]
    return str(reported["slots"][CHANNEL]["active"]["file_sha256"])


def files_of(house: Controller, ref: str) -> dict[str, str]:
    return {file["selector"]: file["sha256"] for file in house.json("artifact", "show", ref)["files"]}


def check_advice(house: Controller, folder: Path, file: Path) -> None:
    """Devices are chosen for by what they reported: what they are, and the speed of their own trials."""
    with Library.open(folder) as library:
        library.add(file, ArtifactRef.parse("mine@1"), origin=origin_of(file))
    words = ("--selector", "site=lab", "--context", "128", "--min-tok-s", "1", "--data", folder)
    [answer] = house.json("model", "advise", *words)
    assert len(answer["group"]["devices"]) == 2
    [candidate] = answer["advice"]["candidates"]
    assert (candidate["rank"], candidate["speed"]["how"]) == (1, "measured")
    assert any(device in candidate["speed"]["why"] for device in answer["group"]["devices"])


def test_one_rollout_gives_each_device_its_own_variant(
    house: Controller, start_device: StartDevice, tmp_path: Path
) -> None:
    large = house.folder / f"{TINY}-1.gguf"
    small = write_tiny_gguf(tmp_path / "small.gguf", quantization="Q8_0", seed=7)
    keys = ("--keys", house.keys)
    two = ("--variant", f"size=small={small}", "--variant", f"arch=z80={small}")
    house.run("artifact", "add", f"{TINY}@2", large, *two, *keys)
    house.run("channel", "set", CHANNEL, "--selector", "site=lab", "--artifact", f"{TINY}@2")
    big = start_device(house, "big", "site=lab", "size=large")
    little = start_device(house, "little", "site=lab", "size=small")
    for device in (big, little):
        wait_for_slot(house, device, CHANNEL, "committed", ref=f"{TINY}@2")
    files = {
        file["selector"]: file["sha256"] for file in house.json("artifact", "show", f"{TINY}@2")["files"]
    }
    assert serving(house, little.id) == files["size=small"]
    assert serving(house, big.id) == files[""]

    check_advice(house, tmp_path / "library", large)

    tuned = tuned_file(large, "large-3.gguf"), tuned_file(small, "small-3.gguf")
    three = ("--variant", f"size=small={tuned[1]}")
    added = house.json("artifact", "add", f"{TINY}@3", tuned[0], *three, "--base", f"{TINY}@2", *keys)
    assert [each["outcome"] for each in added["delta"]["variants"]] == ["published", "published"]
    assert finish_rollout(house, CHANNEL, f"{TINY}@3")["state"] == "succeeded"
    for device in (big, little):
        slot = wait_for_slot(house, device, CHANNEL, "committed", ref=f"{TINY}@3")
        assert slot["bytes_fetched"] < slot["bytes_total"] / 4
    files = {
        file["selector"]: file["sha256"] for file in house.json("artifact", "show", f"{TINY}@3")["files"]
    }
    assert serving(house, little.id) == files["size=small"]
    assert serving(house, big.id) == files[""]

    bundle = tmp_path / "stick"
    house.run("artifact", "export", f"{TINY}@3", "--output", bundle, "--selector", "site=lab")
    assert sum(file.stat().st_size for file in bundle.rglob("*")) > sum(file.stat().st_size for file in tuned)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--variant", "arch=x86_64"), "write SELECTOR=FILE"),
        (("--variant", "arch=x86_64=nowhere.gguf"), "cannot read nowhere.gguf"),
        ((), "say which file"),
    ],
)
def test_variants_that_cannot_be_are_refused(
    idle_house: Controller, words: tuple[str, ...], message: str
) -> None:
    said = idle_house.run(
        "artifact", "add", "x@1", *words, "--keys", idle_house.keys, "--data", idle_house.data, check=False
    )
    assert message in said

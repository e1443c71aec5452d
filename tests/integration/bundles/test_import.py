"""A genuine bundle updates the device; whatever is wrong with one is refused, and changes nothing."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skerry_agent.errors import AgentError
from skerry_agent.trust import FilesSource
from skerry_controller.enrollment.first_files import first_files
from skerry_protocol.bundle import BUNDLE_LIMITS, desired_name
from skerry_protocol.errors import ProtocolError
from support.air_gap import Hut, Office, open_office
from support.scripted_controller import new_device_signer

DAY_S = 86_400


async def events_of(hut: Hut, name: str) -> list[dict[str, Any]]:
    return [dict(event.data) for event in await hut.outbox.recent_events() if event.name == name]


async def test_a_bundle_updates_a_device_that_hears_nobody(office: Office, hut: Hut, tmp_path: Path) -> None:
    made = await office.export("1", tmp_path / "trip", devices=[hut.device])
    result = await hut.take_in(tmp_path / "trip")
    assert (result["outcome"], result["message"]) == ("committed", "")
    assert (hut.active, result["chunk_bytes"]) == ("tiny@1", made["chunk_bytes"])
    assert (await events_of(hut, "bundle_imported"))[-1]["outcome"] == "committed"


async def test_only_what_the_base_lacks_travels(office: Office, hut: Hut, tmp_path: Path) -> None:
    whole = await office.export("1", tmp_path / "one", devices=[hut.device])
    await hut.take_in(tmp_path / "one")
    await office.publish("2", fix="{# fixed #}")
    await office.point_channel("2")
    made = await office.export("2", tmp_path / "two", devices=[hut.device], base=["tiny@1"])
    assert 0 < made["chunk_bytes"] < whole["chunk_bytes"] / 5
    result = await hut.take_in(tmp_path / "two")
    assert (result["outcome"], hut.active) == ("committed", "tiny@2")
    assert result["chunk_bytes"] == made["chunk_bytes"]


async def test_a_bundle_without_the_base_says_what_is_needed(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    await office.publish("2", fix="{# fixed #}")
    await office.point_channel("2")
    await office.export("2", tmp_path / "thin", devices=[hut.device], base=["tiny@1"])
    result = await hut.take_in(tmp_path / "thin")
    assert (result["outcome"], result["code"]) == ("failed", "bundle_incomplete")
    assert "--base" in result["message"]
    await office.export("2", tmp_path / "whole", devices=[hut.device])
    result = await hut.take_in(tmp_path / "whole")
    assert (result["outcome"], hut.active) == ("committed", "tiny@2")


async def test_settings_of_the_fleet_come_along(office: Office, hut: Hut, tmp_path: Path) -> None:
    await office.publish_settings("rates@1")
    await office.export("1", tmp_path / "trip", devices=[hut.device])
    # Nobody applies them in this hut: the import waits for it, and the target is verified and at hand.
    result = await hut.take_in(tmp_path / "trip", wait_s=0.5)
    assert (result["outcome"], result["code"]) == ("waiting", "not_waited_for")
    target = hut.trust.target("configs/rates/1.json")
    assert target is not None
    assert hut.engine.desired is not None
    assert hut.engine.desired.configs == (target,)
    assert b"sample_interval_s" in await hut.trust.fetch_target(target, FilesSource({}))


async def test_an_older_bundle_is_refused_and_a_newer_state_is_kept(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    await office.export("1", tmp_path / "one", devices=[hut.device])
    await office.publish("2", seed=2)
    await office.point_channel("2")
    await office.export("2", tmp_path / "two", devices=[hut.device])
    await hut.take_in(tmp_path / "two")
    versions = hut.trust.versions
    result = await hut.take_in(tmp_path / "one")
    assert (result["outcome"], result["code"]) == ("refused", "older_generation")
    assert (hut.active, hut.trust.versions) == ("tiny@2", versions)


async def test_a_device_that_knows_newer_metadata_still_takes_the_desired_state(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    await office.export("1", tmp_path / "trip", devices=[hut.device])
    await hut.trust.refresh(_Online(office))
    newer = hut.trust.versions
    assert (await hut.take_in(tmp_path / "trip"))["outcome"] == "committed"
    assert hut.trust.versions == newer


async def test_what_is_served_online_follows_what_a_bundle_brought(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    await office.export("1", tmp_path / "trip", devices=[hut.device])
    await hut.take_in(tmp_path / "trip")
    carried = hut.trust.versions
    await hut.trust.refresh(_Online(office))
    assert hut.trust.versions == dict(office.core.repository.versions()) | {"root": 1}
    assert hut.trust.versions["timestamp"] == carried["timestamp"] + 1


class _Online:
    def __init__(self, office: Office) -> None:
        self._repository = office.core.repository

    async def fetch(self, name: str, max_bytes: int) -> bytes | None:
        return self._repository.get(name)


async def test_a_bundle_counts_as_long_as_it_was_made_for(office: Office, hut: Hut, tmp_path: Path) -> None:
    await office.export("1", tmp_path / "trip", devices=[hut.device], valid_s=20 * DAY_S)
    hut.wall_offset_s = 21 * DAY_S
    late = await hut.take_in(tmp_path / "trip")
    assert (late["outcome"], late["code"]) == ("failed", "metadata_expired")
    hut.wall_offset_s = 19 * DAY_S
    assert (await hut.take_in(tmp_path / "trip"))["outcome"] == "committed"


async def test_a_bundle_for_others_is_refused(office: Office, hut: Hut, tmp_path: Path) -> None:
    other = await office.add_device(new_device_signer())
    await office.export("1", tmp_path / "trip", devices=[other])
    refused = await hut.take_in(tmp_path / "trip")
    assert (refused["outcome"], refused["code"]) == ("failed", "wrong_device")
    (tmp_path / "trip" / desired_name(other)).rename(tmp_path / "trip" / desired_name(hut.device))
    refused = await hut.take_in(tmp_path / "trip")
    assert (refused["outcome"], refused["code"]) == ("refused", "wrong_device")
    assert hut.engine.accepted is None


async def test_a_bundle_of_another_fleet_is_left_alone(hut: Hut, tmp_path: Path) -> None:
    async with open_office(tmp_path / "elsewhere") as elsewhere:
        device = await elsewhere.add_device(hut.signer)
        await elsewhere.export("1", tmp_path / "trip", devices=[device])
        (tmp_path / "trip" / desired_name(device)).rename(tmp_path / "trip" / desired_name(hut.device))
    with pytest.raises(AgentError, match="fleet"):
        await hut.take_in(tmp_path / "trip")
    assert not (tmp_path / "trip" / "back").exists()
    # With a false name on it, it is still signed by others.
    head = json.loads((tmp_path / "trip" / "bundle.json").read_text())
    head["fleet"] = hut.trust.trust_document.fleet
    (tmp_path / "trip" / "bundle.json").write_text(json.dumps(head))
    refused = await hut.take_in(tmp_path / "trip")
    assert (refused["outcome"], refused["code"]) == ("failed", "metadata_unsigned")
    assert hut.engine.accepted is None


async def test_one_wrong_byte_anywhere_is_found_and_nothing_wrong_is_followed(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    genuine = tmp_path / "trip"
    # What the device holds already is not read: first versions, and the trust document.
    held = set(first_files(office.core.repository).values())
    await office.publish("2", seed=2)  # so that the device has not seen the roles' newest versions
    await office.export("1", genuine, devices=[hut.device])
    paths = [path for folder in ("metadata", "targets", "desired") for path in (genuine / folder).iterdir()]
    # Metadata first: once it is taken in, it is held, and not read again.
    names = [path.relative_to(genuine) for path in paths if path.read_bytes() not in held]
    assert len(names) == 5
    for name in names:
        copy = _copy(genuine, tmp_path / "copy")
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 0x01
        (copy / name).write_bytes(data)
        assert (await hut.take_in(copy))["outcome"] in ("failed", "refused"), name
    assert (hut.engine.accepted, hut.active) == (None, None)
    assert (await hut.take_in(genuine))["outcome"] == "committed"


async def test_a_damaged_chunk_is_named_and_the_next_copy_goes_on(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    made = await office.export("1", tmp_path / "trip", devices=[hut.device])
    copy = _copy(tmp_path / "trip", tmp_path / "copy")
    pack = copy / "chunks-0001.bin"
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0x01
    pack.write_bytes(data)
    result = await hut.take_in(copy)
    assert (result["outcome"], result["code"], hut.active) == ("failed", "bundle_incomplete", None)
    assert "chunks-0001.bin" in result["message"]
    result = await hut.take_in(tmp_path / "trip")
    assert (result["outcome"], hut.active) == ("committed", "tiny@1")
    assert 0 < result["chunk_bytes"] < made["chunk_bytes"]


def _remove(name: str) -> Callable[[Path], None]:
    return lambda bundle: next(iter(sorted(bundle.glob(name)))).unlink()


def _remove_targets(bundle: Path) -> None:
    shutil.rmtree(bundle / "targets")


def _truncate(bundle: Path) -> None:
    os.truncate(bundle / "chunks-0001.bin", (bundle / "chunks-0001.bin").stat().st_size - 1)


def _grow(name: str, size: int) -> Callable[[Path], None]:
    return lambda bundle: os.truncate(bundle / name, size)


def _link(name: str) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        path = next(iter(sorted(bundle.glob(name))))
        outside = bundle.parent / f"outside-{path.name}"
        path.rename(outside)
        path.symlink_to(outside)

    return change


def _pipe(bundle: Path) -> None:
    (bundle / "chunks.json").unlink()
    os.mkfifo(bundle / "chunks.json")


def _index(**changes: Any) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        index = json.loads((bundle / "chunks.json").read_text())
        (bundle / "chunks.json").write_text(json.dumps(index | changes))

    return change


def _swap_places(bundle: Path) -> None:
    index = json.loads((bundle / "chunks.json").read_text())
    chunks = index["chunks"]
    same = [chunk for chunk in chunks if chunk[3] == chunks[-1][3]]
    assert len(same) > 1
    same[0][2], same[1][2] = same[1][2], same[0][2]
    (bundle / "chunks.json").write_text(json.dumps(index))


HOSTILE: dict[str, Callable[[Path], None]] = {
    "no head": _remove("bundle.json"),
    "no index": _remove("chunks.json"),
    "no chunks": _remove("chunks-0001.bin"),
    "chunks cut off": _truncate,
    "a huge head": _grow("bundle.json", 1 << 40),
    "a huge index": _grow("chunks.json", 1 << 40),
    "a huge timestamp": _grow("metadata/timestamp.json", 1 << 40),
    "an index beyond the file": _index(packs=[1 << 50]),
    "an index beyond the pack": _index(packs=[10]),
    "an empty pack": _index(packs=[0], chunks=[]),
    "a linked index": _link("chunks.json"),
    "a linked folder": _link("metadata"),
    "linked chunks": _link("chunks-0001.bin"),
    "a pipe": _pipe,
    "no timestamp": _remove("metadata/timestamp.json"),
    "no snapshot": _remove("metadata/*.snapshot.json"),
    "no models": _remove("metadata/*.models.json"),
    # From here on the metadata is taken in.
    "no desired state": _remove("desired/*"),
    "a linked desired state": _link("desired/*"),
    "no manifest": _remove_targets,
    "an index of nothing": _index(packs=[], chunks=[]),
    "chunks in each other's place": _swap_places,
}
"""In this order: what comes later gets further."""


async def test_a_hostile_bundle_is_refused_and_the_genuine_one_still_works(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    await office.publish("2", seed=2)  # so that the device has not seen the roles' newest versions
    await office.export("1", tmp_path / "trip", devices=[hut.device])
    for what, change in HOSTILE.items():
        copy = _copy(tmp_path / "trip", tmp_path / "copy")
        change(copy)
        try:
            outcome = (await hut.take_in(copy))["outcome"]
        except (AgentError, ProtocolError):
            outcome = "failed"
        assert (outcome, hut.active) == ("failed", None), what
    assert (await hut.take_in(tmp_path / "trip"))["outcome"] == "committed"


async def test_nothing_is_written_where_a_link_leads(office: Office, hut: Hut, tmp_path: Path) -> None:
    await office.export("1", tmp_path / "trip", devices=[hut.device])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "trip" / "back").symlink_to(tmp_path / "elsewhere")
    result = await hut.take_in(tmp_path / "trip")
    assert (result["outcome"], result["written"]) == ("committed", None)
    assert "back" in result["not_written"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_version_that_fails_its_trial_ends_the_import_with_the_reason(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    from support.updates import failed  # noqa: PLC0415 - only here

    hut.trier.outcomes.append(failed("too_slow"))
    await office.export("1", tmp_path / "trip", devices=[hut.device])
    result = await hut.take_in(tmp_path / "trip")
    assert (result["outcome"], result["code"]) == ("rolled_back", "too_slow")
    assert result["written"]["records"] > 0


def _copy(bundle: Path, copy: Path) -> Path:
    shutil.rmtree(copy, ignore_errors=True)
    return shutil.copytree(bundle, copy)


def test_the_limits_leave_room_for_fat32() -> None:
    assert BUNDLE_LIMITS.max_pack_bytes < 2**32 - 1

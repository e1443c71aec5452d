"""What an export issues, what it refuses, and what it leaves behind."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Snapshot, Timestamp

from skerry_controller.cli.client import ApiError
from skerry_controller.database import DeviceRow
from skerry_controller.errors import UsageError, WorldError
from skerry_protocol.bundle import acks_name, decode_head, decode_index, desired_name
from skerry_protocol.desired import decode_desired
from skerry_protocol.envelope import parse
from support.air_gap import Hut, Office
from support.scripted_controller import new_device_signer

DAY_S = 86_400


async def stored_envelope(office: Office, device: str) -> bytes | None:
    async with office.core.database.session() as session:
        return (await session.get_one(DeviceRow, device)).desired_envelope


def timestamp_of(data: bytes) -> Timestamp:
    return Metadata[Timestamp].from_bytes(data).signed


def made_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("trip*"))


async def test_a_bundle_takes_a_number_of_the_one_line_and_what_is_served_stays_ahead(
    office: Office, tmp_path: Path
) -> None:
    repository = office.core.repository
    before = dict(repository.versions())
    await office.export("1", tmp_path / "trip", valid_s=30 * DAY_S)
    carried = timestamp_of((tmp_path / "trip" / "metadata" / "timestamp.json").read_bytes())
    served = timestamp_of(repository.get("timestamp.json") or b"")
    numbers = (before["timestamp"], carried.version, served.version)
    assert numbers == (numbers[0], numbers[0] + 1, numbers[0] + 2)
    assert carried.snapshot_meta.version == before["snapshot"] + 1
    assert served.snapshot_meta.version == before["snapshot"] + 2
    now = office.core.clock()
    assert (carried.expires - now).days in (29, 30)
    assert (served.expires - now).total_seconds() <= DAY_S
    snapshot = (
        tmp_path / "trip" / "metadata" / f"{carried.snapshot_meta.version}.snapshot.json"
    ).read_bytes()
    assert Metadata[Snapshot].from_bytes(snapshot).signed.expires == carried.expires
    # The number that the bundle has was never served, so nobody sees two states under it.
    assert repository.get(f"{carried.snapshot_meta.version}.snapshot.json") is None


async def test_the_desired_state_in_a_bundle_is_the_one_that_is_served(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    await office.export("1", tmp_path / "one", devices=[hut.device], valid_s=20 * DAY_S)
    first = (tmp_path / "one" / desired_name(hut.device)).read_bytes()
    assert first == await stored_envelope(office, hut.device)
    await office.export("1", tmp_path / "two", devices=[hut.device], valid_s=10 * DAY_S)
    assert (tmp_path / "two" / desired_name(hut.device)).read_bytes() == first
    await office.export("1", tmp_path / "three", devices=[hut.device], valid_s=60 * DAY_S)
    third = (tmp_path / "three" / desired_name(hut.device)).read_bytes()
    assert third == await stored_envelope(office, hut.device)
    older, newer = (decode_desired(parse(each).payload) for each in (first, third))
    assert newer.generation > older.generation
    assert newer.expires_at >= office.core.clock().timestamp() + 59 * DAY_S


async def test_the_documents_say_what_is_there(office: Office, hut: Hut, tmp_path: Path) -> None:
    made = await office.export("1", tmp_path / "trip", devices=[hut.device])
    head = decode_head((tmp_path / "trip" / "bundle.json").read_bytes())
    index = decode_index((tmp_path / "trip" / "chunks.json").read_bytes())
    assert (head.artifacts, head.devices) == (("tiny@1",), (hut.device,))
    assert made["chunk_bytes"] == head.chunk_bytes == sum(index.packs)
    assert (tmp_path / "trip" / "chunks-0001.bin").stat().st_size == index.packs[0]
    assert (
        sum(path.stat().st_size for path in (tmp_path / "trip").rglob("*") if path.is_file()) >= made["bytes"]
    )
    assert not (tmp_path / "trip" / acks_name(hut.device)).exists()
    entries = await office.client.get("/audit", action="bundle_exported")
    assert [(entry["subject"], entry["detail"]["devices"]) for entry in entries] == [("tiny@1", [hut.device])]


async def test_devices_of_a_selector_that_should_run_something_else_are_left_out(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    other = await office.add_device(new_device_signer(), site="elsewhere")
    made = await office.export("1", tmp_path / "trip", selector="")
    assert made["devices"] == [hut.device]
    assert [note for note in made["notes"] if other in note]


Refused = tuple[dict[str, Any], str]
REFUSED: dict[str, Callable[[Hut], Refused]] = {
    "an unknown artifact": lambda _: ({"artifacts": ["tiny@7"]}, "tiny@7"),
    "an unknown base": lambda _: ({"base": ["tiny@0"]}, "tiny@0"),
    "an unknown device": lambda _: ({"devices": ["d-abcdefgh23456723"]}, "d-abcdefgh23456723"),
    "a selector of nobody": lambda _: ({"selector": "site=moon"}, "site=moon"),
    "too long a validity": lambda _: ({"valid_s": 91 * DAY_S}, "90 days"),
    "a version that the device should not run": lambda hut: (
        {"artifacts": ["tiny@2"], "devices": [hut.device]},
        "should run tiny@1, not tiny@2",
    ),
}


async def test_what_cannot_be_is_refused_and_nothing_is_issued(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    await office.publish("2", seed=2)
    before = dict(office.core.repository.versions())
    for what, case in REFUSED.items():
        request, message = case(hut)
        version = request.pop("artifacts", ["tiny@1"])[0].removeprefix("tiny@")
        with pytest.raises(ApiError, match=message):
            await office.export(version, tmp_path / "trip", **request)
        assert made_in(tmp_path) == [], what
    assert dict(office.core.repository.versions()) == before
    assert await stored_envelope(office, hut.device) is None


async def test_places_that_cannot_be_written_are_refused_before_anything_is_issued(
    office: Office, tmp_path: Path
) -> None:
    before = dict(office.core.repository.versions())
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        await office.export("1", tmp_path / "there")
    with pytest.raises(UsageError, match="mounted"):
        await office.export("1", tmp_path / "nowhere" / "trip")
    assert dict(office.core.repository.versions()) == before


async def test_a_full_stick_is_refused_with_the_missing_bytes(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=3, f_frsize=4096))
    with pytest.raises(UsageError, match="are missing"):
        await office.export("1", tmp_path / "trip")
    assert made_in(tmp_path) == []


async def test_a_damaged_model_is_noticed_at_home(office: Office, tmp_path: Path) -> None:
    blob = next(path for path in (office.core.data.blobs / "sha256").rglob("*") if path.is_file())
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    with pytest.raises(WorldError, match="artifact verify"):
        await office.export("1", tmp_path / "trip")
    assert made_in(tmp_path) == []


async def test_an_export_that_was_killed_is_begun_anew(office: Office, tmp_path: Path) -> None:
    (tmp_path / "trip.partial" / "desired").mkdir(parents=True)
    (tmp_path / "trip.partial" / "chunks-0001.bin").write_bytes(b"half")
    await office.export("1", tmp_path / "trip")
    assert made_in(tmp_path) == ["trip"]
    assert not (tmp_path / "trip" / "desired").exists()

"""What devices wrote onto a stick comes in once, and only when they signed it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from skerry_controller.cli.taking_back import Taken, take_device
from skerry_controller.database import DeviceRow, RecordRow
from skerry_protocol.bundle import RECORDS, REPORTED, acks_name, back_name, frame, read_frames
from support.air_gap import Hut, Office
from support.scripted_controller import new_device_signer


@pytest.fixture
async def trip(office: Office, hut: Hut, tmp_path: Path) -> Path:
    """A bundle that was at the device."""
    await office.export("1", tmp_path / "trip", devices=[hut.device])
    for number in range(30):
        hut.outbox.add_sample({"cpu_percent": float(number)})
    await hut.take_in(tmp_path / "trip")
    return tmp_path / "trip"


async def take(office: Office, trip: Path, hut: Hut) -> Taken:
    return await take_device(office.client, trip, hut.device)


async def count(office: Office, device: str) -> int:
    query = select(func.count()).select_from(RecordRow).where(RecordRow.device_id == device)
    async with office.core.database.session() as session:
        return await session.scalar(query) or 0


async def reported(office: Office, device: str) -> dict[str, Any] | None:
    async with office.core.database.session() as session:
        return (await session.get_one(DeviceRow, device)).reported


def records(trip: Path, hut: Hut) -> Path:
    return trip / back_name(hut.device, RECORDS)


async def test_everything_comes_in_once_and_is_let_go_after_the_next_trip(
    office: Office, hut: Hut, trip: Path, tmp_path: Path
) -> None:
    taken = await take(office, trip, hut)
    assert (taken.report, taken.problems, taken.duplicates) == ("news", [], 0)
    assert taken.stored == await count(office, hut.device) > 30
    again = await take(office, trip, hut)
    assert (again.report, again.stored, again.duplicates) == ("known", 0, taken.stored)
    # The next bundle says so to the device, and so does the same stick on its second round.
    await office.export("1", tmp_path / "next", devices=[hut.device])
    assert (tmp_path / "next" / acks_name(hut.device)).exists()
    assert (trip / acks_name(hut.device)).exists()
    result = await hut.take_in(tmp_path / "next")
    assert (result["acknowledged"], result["outcome"]) == (taken.stored, "committed")
    assert (await hut.take_in(trip))["acknowledged"] == 0
    last = await take(office, tmp_path / "next", hut)
    assert last.duplicates == 0
    assert taken.stored + last.stored == await count(office, hut.device)


async def test_the_controller_learns_what_runs_but_does_not_take_the_stick_for_a_sign_of_life(
    office: Office, hut: Hut, trip: Path
) -> None:
    await take(office, trip, hut)
    shown = await office.client.get(f"/devices/{hut.device}")
    assert (shown["in_sync"], shown["slots"][0]["active"], shown["last_seen_at"]) == (True, "tiny@1", None)


async def test_a_report_that_was_overtaken_is_not_news(office: Office, hut: Hut, trip: Path) -> None:
    old = (trip / back_name(hut.device, REPORTED)).read_bytes()
    hut.wall_offset_s = 3600
    await hut.take_in(trip)
    await take(office, trip, hut)
    newest = await reported(office, hut.device)
    assert newest is not None
    # Of another boot, so that its counter says nothing: by its own time it is older.
    async with office.core.database.transaction() as session:
        row = await session.get_one(DeviceRow, hut.device)
        row.boot_id = "another"
        row.reported = {**newest, "boot_id": "another"}
    (trip / back_name(hut.device, REPORTED)).write_bytes(old)
    assert (await take(office, trip, hut)).report == "known"
    assert ((await reported(office, hut.device)) or {})["boot_id"] == "another"


async def test_what_another_device_signed_is_refused(office: Office, hut: Hut, trip: Path) -> None:
    victim = await office.add_device(new_device_signer())
    shutil.copytree(trip / "back" / hut.device, trip / "back" / victim)
    taken = await take_device(office.client, trip, victim)
    assert (taken.report, taken.stored) == (None, 0)
    assert len(taken.problems) == 2
    assert all(
        "bad_signature" in each or "malformed" in each or "signature" in each for each in taken.problems
    )
    assert (await count(office, victim), await reported(office, victim)) == (0, None)


async def test_a_device_that_nobody_enrolled_is_refused(office: Office, hut: Hut, trip: Path) -> None:
    stranger = "d-abcdefgh23456723"
    (trip / "back" / hut.device).rename(trip / "back" / stranger)
    taken = await take_device(office.client, trip, stranger)
    assert taken.stored == 0
    assert any("not enrolled" in problem for problem in taken.problems)


async def test_one_wrong_byte_in_a_batch_costs_that_batch_alone(office: Office, hut: Hut, trip: Path) -> None:
    path = records(trip, hut)
    with path.open("rb") as file:
        batches = list(read_frames(file.read))
    assert len(batches) > 1
    wrong = bytearray(batches[0])
    wrong[len(wrong) // 2] ^= 1
    path.write_bytes(b"".join(map(frame, [bytes(wrong), *batches[1:]])))
    taken = await take(office, trip, hut)
    assert len(taken.problems) == 1
    assert taken.stored == await count(office, hut.device) > 0
    # What did not come is not acknowledged, so the device brings it again.
    left = await hut.take_in(trip)
    assert left["acknowledged"] == taken.stored
    assert (await take(office, trip, hut)).problems == []


async def test_a_torn_file_gives_what_stands_before_the_tear(office: Office, hut: Hut, trip: Path) -> None:
    path = records(trip, hut)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    taken = await take(office, trip, hut)
    assert taken.stored > 0
    assert any("before" in problem for problem in taken.problems)


async def test_links_lead_nowhere(office: Office, hut: Hut, trip: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    records(trip, hut).rename(outside)
    records(trip, hut).symlink_to(outside)
    taken = await take(office, trip, hut)
    assert (taken.report, taken.stored) == ("news", 0)
    assert taken.problems

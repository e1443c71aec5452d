import msgspec
import pytest
from sqlalchemy import select

from skerry_controller.database import DeviceBootRow, DeviceRow
from skerry_controller.errors import ControllerError
from skerry_controller.fleet import (
    Devices,
    Reports,
    RevokedDeviceError,
    UnknownDeviceError,
    WrongDeviceError,
    refusal_code,
)
from skerry_controller.fleet.reported import MAX_BOOTS
from skerry_protocol.envelope import seal
from skerry_protocol.errors import ProtocolError
from skerry_protocol.generation import Generation, GenerationMark
from skerry_protocol.reported import encode_reported
from support.fake_device import FakeDevice
from support.fleet_side import House


@pytest.fixture
async def device(house: House) -> FakeDevice:
    return await house.add_device()


async def test_a_report_is_stored_and_shown(house: House, reports: Reports, device: FakeDevice) -> None:
    accepted = await reports.accept(device.id, device.report())
    assert accepted.is_news
    view = await Devices(house.database, house.clock).show(device.id)
    assert (view.agent_version, view.reported_at) == ("1.0", house.clock())


async def test_a_repeated_or_older_report_changes_nothing(reports: Reports, device: FakeDevice) -> None:
    first, second = device.report(), device.report()
    assert (await reports.accept(device.id, second)).is_news
    assert not (await reports.accept(device.id, second)).is_news
    assert not (await reports.accept(device.id, first)).is_news


async def test_a_new_boot_starts_its_counter_anew(reports: Reports, device: FakeDevice) -> None:
    for _ in range(3):
        await reports.accept(device.id, device.report())
    device.boot_id, device.counter = "another", 0
    assert (await reports.accept(device.id, device.report())).is_news


async def test_a_report_of_a_former_boot_is_no_news(reports: Reports, device: FakeDevice) -> None:
    device.mark = GenerationMark(generation=Generation(epoch=1, number=1), sha256="a" * 64)
    old = device.report()
    await reports.accept(device.id, old)
    device.boot_id, device.counter = "another", 0
    device.mark = GenerationMark(generation=Generation(epoch=1, number=2), sha256="b" * 64)
    await reports.accept(device.id, device.report())
    assert not (await reports.accept(device.id, old)).is_news


async def test_a_repeated_report_of_a_former_boot_is_no_news_in_the_same_generation(
    reports: Reports, device: FakeDevice
) -> None:
    device.mark = GenerationMark(generation=Generation(epoch=1, number=1), sha256="a" * 64)
    old = [device.report() for _ in range(2)]
    for report in old:
        assert (await reports.accept(device.id, report)).is_news
    device.boot_id, device.counter = "another", 0
    assert (await reports.accept(device.id, device.report())).is_news
    for report in old:
        assert not (await reports.accept(device.id, report)).is_news
    assert (await reports.accept(device.id, device.report())).is_news


async def test_a_withheld_report_of_a_former_boot_locks_nobody_out(
    reports: Reports, device: FakeDevice
) -> None:
    former = FakeDevice(device.id, device.directors, device.key)
    withheld = former.report()
    assert (await reports.accept(device.id, device.report())).is_news
    await reports.accept(device.id, withheld)
    assert (await reports.accept(device.id, device.report())).is_news
    assert not (await reports.accept(device.id, withheld)).is_news


async def test_boots_are_remembered_within_bounds(house: House, reports: Reports, device: FakeDevice) -> None:
    for number in range(MAX_BOOTS + 20):
        device.boot_id, device.counter = f"boot-{number}", 0
        house.clock.forward(1)
        assert (await reports.accept(device.id, device.report())).is_news
    async with house.database.session() as session:
        boots = set(await session.scalars(select(DeviceBootRow.boot_id)))
    assert len(boots) == MAX_BOOTS
    assert f"boot-{MAX_BOOTS + 19}" in boots


async def test_reports_of_others_are_refused(house: House, reports: Reports, device: FakeDevice) -> None:
    other = await house.add_device()
    with pytest.raises(WrongDeviceError):
        await reports.accept(device.id, device.sealed_report(device.report_of(other.id)))
    stranger = FakeDevice("d-aaaaaaaaaaaaaaaa", house.directors)
    with pytest.raises(UnknownDeviceError):
        await reports.accept(stranger.id, stranger.report())


async def test_a_revoked_device_is_refused(house: House, reports: Reports, device: FakeDevice) -> None:
    async with house.database.transaction() as session:
        (await session.get_one(DeviceRow, device.id)).revoked_at = house.clock()
    with pytest.raises(RevokedDeviceError):
        await reports.accept(device.id, device.report())


def changed(device: FakeDevice, **fields: object) -> bytes:
    report = msgspec.json.decode(encode_reported(device.report_of(device.id)))
    return seal("reported", msgspec.json.encode({**report, **fields}), [device.signer])


async def test_bad_input_gets_its_code(house: House, reports: Reports, device: FakeDevice) -> None:
    other = await house.add_device()
    device.counter = 1
    cases = {
        "not_json": b"{nonsense",
        "too_large": b"{" + b" " * 200_000,
        "unknown_field": changed(device, surprise=1),
        "future_version": changed(device, v=2),
        "bad_signature": other.report(),
        "malformed": changed(device, counter="three"),
        "wrong_device": device.sealed_report(device.report_of(other.id)),
    }
    for code, data in cases.items():
        with pytest.raises((ProtocolError, ControllerError)) as caught:
            await reports.accept(device.id, data)
        assert refusal_code(caught.value) == code  # type: ignore[arg-type]  # the union is what pytest.raises was given
    assert (await Devices(house.database, house.clock).show(device.id)).reported_at is None


async def test_presence_comes_and_goes(house: House, reports: Reports, device: FakeDevice) -> None:
    devices = Devices(house.database, house.clock)

    async def shown() -> str:
        return (await devices.show(device.id)).presence

    assert await shown() == "never seen"
    await reports.note_presence(device.id, device.status(online=False), retained=True)
    assert await shown() == "never seen"
    await reports.note_presence(device.id, device.status(online=True), retained=False)
    assert await shown() == "online"
    await reports.forget_presence()
    assert await shown() == "offline"
    with pytest.raises(WrongDeviceError):
        await reports.note_presence("d-aaaaaaaaaaaaaaaa", device.status(online=True), retained=False)

import pytest

from skerry_controller.database import DeviceRow
from skerry_controller.fleet import Channels, ConfigAssignments, DesiredPublisher, Devices, Reports
from skerry_protocol.errors import ProtocolError
from skerry_protocol.generation import Generation, GenerationMark
from support.fake_device import FakeDevice
from support.fleet_side import CHANNEL, House, Sent


@pytest.fixture
async def device(house: House) -> FakeDevice:
    return await house.add_device(site="lab")


@pytest.fixture
async def channel(house: House) -> str:
    await house.add_artifact("m@1")
    await Channels(house.database, house.clock).set(
        CHANNEL, selector="site=lab", artifact="m@1", actor="admin:a"
    )
    return CHANNEL


async def test_a_device_gets_the_channels_version_once(
    house: House, sent: Sent, publisher: DesiredPublisher, device: FakeDevice, channel: str
) -> None:
    other = await house.add_device(site="shop")
    assert await publisher.refresh() == [device.id]
    assert await publisher.refresh() == []
    (envelope,) = sent.to(device.id, "desired")
    state = device.follow(envelope)
    assert state.generation == Generation(epoch=1, number=1)
    assert state.slots[channel].target.path == "models/m/1.json"
    assert state.minimum_versions == {"models": 7, "targets": 1}
    assert sent.messages[0][3], "a desired state is retained"
    assert sent.to(other.id, "desired") == []


async def test_a_change_allocates_the_next_generation(
    house: House, sent: Sent, publisher: DesiredPublisher, device: FakeDevice, channel: str
) -> None:
    await publisher.refresh()
    await house.add_artifact("tuning@1", kind="config")
    await ConfigAssignments(house.database, house.clock).assign("tuning@1", selector="", actor="admin:a")
    await publisher.refresh()
    first, second = (device.follow(each) for each in sent.to(device.id, "desired"))
    assert (first.generation.number, second.generation.number) == (1, 2)
    assert [bundle.path for bundle in second.configs] == ["configs/tuning/1.json"]
    assert second.minimum_versions == {"configs": 2, "models": 7, "targets": 1}


async def test_leaving_the_channel_publishes_a_state_without_the_slot(
    house: House, sent: Sent, publisher: DesiredPublisher, device: FakeDevice, channel: str
) -> None:
    await publisher.refresh()
    await Devices(house.database, house.clock).label(
        device.id, add={"site": "shop"}, remove=[], actor="admin:a"
    )
    await publisher.refresh([device.id])
    assert device.follow(sent.to(device.id, "desired")[-1]).slots == {}


async def test_a_device_without_the_newest_state_gets_the_same_bytes_again(
    house: House, sent: Sent, publisher: DesiredPublisher, device: FakeDevice, channel: str
) -> None:
    await publisher.refresh()
    await publisher.heal(device.id, None)
    first, again = sent.to(device.id, "desired")
    assert first == again


async def test_a_device_that_has_it_gets_nothing(
    house: House, sent: Sent, publisher: DesiredPublisher, device: FakeDevice, channel: str
) -> None:
    await publisher.refresh()
    device.follow(sent.to(device.id, "desired")[0])
    await publisher.heal(device.id, device.mark)
    assert len(sent.messages) == 1


@pytest.mark.parametrize("number", [1, 40])
async def test_after_a_lost_database_the_number_goes_above_what_the_device_has(
    house: House,
    sent: Sent,
    publisher: DesiredPublisher,
    reports: Reports,
    device: FakeDevice,
    channel: str,
    number: int,
) -> None:
    await publisher.refresh()
    device.mark = GenerationMark(generation=Generation(epoch=1, number=number), sha256="0" * 64)
    accepted = await reports.accept(device.id, device.report())
    await publisher.heal(device.id, accepted.report.desired)
    healed = device.follow(sent.to(device.id, "desired")[-1])
    assert healed.generation == Generation(epoch=1, number=number + 1)


async def test_a_disagreement_is_answered_at_most_every_few_seconds(
    house: House, sent: Sent, publisher: DesiredPublisher, device: FakeDevice, channel: str
) -> None:
    await publisher.refresh()
    for _ in range(5):
        await publisher.heal(device.id, None)
    assert len(sent.messages) == 2
    house.clock.forward(10)
    await publisher.heal(device.id, None)
    assert len(sent.messages) == 3


async def test_a_new_epoch_gives_everybody_a_new_generation(
    house: House, sent: Sent, publisher: DesiredPublisher, device: FakeDevice, channel: str
) -> None:
    await publisher.refresh()
    house.epoch = 2
    assert await publisher.sweep() == [device.id]
    assert device.follow(sent.to(device.id, "desired")[-1]).generation.epoch == 2


async def test_a_state_is_issued_again_before_it_expires(
    house: House, sent: Sent, publisher: DesiredPublisher, device: FakeDevice, channel: str
) -> None:
    await publisher.refresh()
    house.clock.forward(9 * 86400)
    assert await publisher.sweep() == []
    house.clock.forward(2 * 86400)
    assert await publisher.sweep() == [device.id]
    first, second = (device.follow(each) for each in sent.to(device.id, "desired"))
    assert second.expires_at > first.expires_at
    assert (second.slots, second.generation.number) == (first.slots, 2)


async def test_a_device_that_is_online_and_behind_gets_it_at_the_next_sweep(
    house: House, sent: Sent, publisher: DesiredPublisher, reports: Reports, device: FakeDevice, channel: str
) -> None:
    await publisher.refresh()
    await publisher.sweep()
    assert len(sent.messages) == 1
    await reports.note_presence(device.id, device.status(online=True), retained=False)
    await publisher.sweep()
    assert len(sent.messages) == 2


async def test_a_device_that_reports_an_absurd_generation_stops_nobody_else(
    house: House,
    sent: Sent,
    publisher: DesiredPublisher,
    reports: Reports,
    device: FakeDevice,
    channel: str,
) -> None:
    other = await house.add_device(site="lab")
    await publisher.refresh()
    device.mark = GenerationMark(generation=Generation(epoch=1, number=2**63 - 1), sha256="a" * 64)
    with pytest.raises(ProtocolError):
        await reports.accept(device.id, device.report())
    await house.add_artifact("tuning@1", kind="config")
    await ConfigAssignments(house.database, house.clock).assign("tuning@1", selector="", actor="admin:a")
    assert set(await publisher.refresh()) == {device.id, other.id}
    assert len(await Devices(house.database, house.clock).list()) == 2


async def test_a_row_that_cannot_be_read_costs_its_own_device_only(
    house: House, sent: Sent, publisher: DesiredPublisher, device: FakeDevice, channel: str
) -> None:
    other = await house.add_device(site="lab")
    await publisher.refresh()
    async with house.database.transaction() as session:
        (await session.get_one(DeviceRow, device.id)).desired_envelope = b"decayed"
    house.clock.forward(20 * 86400)
    assert set(await publisher.refresh()) == {device.id, other.id}

import pytest

from skerry_controller.errors import ConflictError, NotFoundError, UsageError
from skerry_controller.fleet import Channels, ConfigAssignments, Devices
from skerry_protocol.errors import NameSyntaxError
from support.fleet_side import CHANNEL, House

ADMIN = "admin:a"


@pytest.fixture
def channels(house: House) -> Channels:
    return Channels(house.database, house.clock)


async def test_a_channel_is_made_found_and_changed(house: House, channels: Channels) -> None:
    await house.add_device(site="lab")
    await house.add_device(site="shop")
    made = await channels.set(CHANNEL, selector="site = lab", artifact=None, actor=ADMIN)
    assert (made.selector, made.current, made.devices, made.rollout) == ("site=lab", None, 1, None)
    changed = await channels.set(CHANNEL, selector="", artifact=None, actor=ADMIN)
    assert changed.devices == 2
    assert [each.name for each in await channels.list()] == [CHANNEL]


async def test_only_the_first_version_is_set_without_a_rollout(house: House, channels: Channels) -> None:
    await house.add_artifact("m@1")
    await house.add_artifact("m@2")
    await channels.set(CHANNEL, selector="", artifact="m@1", actor=ADMIN)
    again = await channels.set(CHANNEL, selector=None, artifact="m@1", actor=ADMIN)
    assert again.current == "m@1"
    with pytest.raises(ConflictError, match="skerry rollout create assistant/stable --to m@2"):
        await channels.set(CHANNEL, selector=None, artifact="m@2", actor=ADMIN)


async def test_mistakes_are_named(house: House, channels: Channels) -> None:
    await house.add_artifact("tuning@1", kind="config")
    with pytest.raises(NameSyntaxError):
        await channels.set("assistant", selector="", artifact=None, actor=ADMIN)
    with pytest.raises(NameSyntaxError):
        await channels.set(CHANNEL, selector="site", artifact=None, actor=ADMIN)
    with pytest.raises(UsageError, match="--selector"):
        await channels.set(CHANNEL, selector=None, artifact=None, actor=ADMIN)
    with pytest.raises(NotFoundError, match="m@1 is not published"):
        await channels.set(CHANNEL, selector="", artifact="m@1", actor=ADMIN)
    with pytest.raises(UsageError, match="is a config, not a model"):
        await channels.set(CHANNEL, selector="", artifact="tuning@1", actor=ADMIN)
    with pytest.raises(NotFoundError):
        await channels.show(CHANNEL)


async def test_labels_are_set_and_removed(house: House) -> None:
    device = await house.add_device(site="lab", ring="canary")
    devices = Devices(house.database, house.clock)
    labels = await devices.label(device.id, add={"floor": "2"}, remove=["ring"], actor=ADMIN)
    assert labels == {"site": "lab", "floor": "2"}
    assert [each.id for each in await devices.list("floor=2,ring!=canary")] == [device.id]
    assert await devices.list("site=shop") == []
    with pytest.raises(UsageError):
        await devices.label(device.id, add={f"k{n}": "v" for n in range(70)}, remove=[], actor=ADMIN)
    with pytest.raises(NotFoundError):
        await devices.label("d-aaaaaaaaaaaaaaaa", add={}, remove=[], actor=ADMIN)


async def test_a_new_version_of_a_bundle_takes_the_place_of_the_former(house: House) -> None:
    for name in ("base@1", "extra@1", "base@2"):
        await house.add_artifact(name, kind="config")
    configs = ConfigAssignments(house.database, house.clock)
    await configs.assign("base@1", selector="site=lab", actor=ADMIN)
    extra = await configs.assign("extra@1", selector="site=lab", actor=ADMIN)
    await configs.assign("base@2", selector="site=lab", actor=ADMIN)
    assert [each.bundle for each in await configs.list()] == ["base@2", "extra@1"]
    await configs.remove(extra.id, actor=ADMIN)
    assert [each.bundle for each in await configs.list()] == ["base@2"]
    with pytest.raises(NotFoundError):
        await configs.remove(extra.id, actor=ADMIN)

"""Rollouts on a real database, with devices that follow what was published for them."""

import asyncio
from dataclasses import dataclass, field

import msgspec
import pytest

from skerry_controller.audit import entries
from skerry_controller.director import Director
from skerry_controller.errors import ConflictError, NotFoundError, UsageError
from skerry_controller.fleet import Channels, DesiredPublisher, DeviceKeys, Reports, TrustState
from skerry_controller.rollouts import RolloutRequest, Rollouts, RolloutView
from skerry_protocol.errors import ProtocolError
from skerry_protocol.reported import Reason, SlotState
from support.fake_device import FakeDevice
from support.fleet_side import CHANNEL, House, Sent

ADMIN = "admin:a"
FAILED = Reason(code="acceptance_failed", message="no completion")


@dataclass
class Scene:
    """A channel at ``m@1`` with some devices."""

    house: House
    sent: Sent = field(default_factory=Sent)
    devices: list[FakeDevice] = field(default_factory=list)

    def __post_init__(self) -> None:
        house = self.house
        self.publisher = DesiredPublisher(
            house.database,
            Director(house.director_key, house.clock),
            self.sent,
            lambda: TrustState(1, {"models": 1}),
            house.clock,
        )
        self.rollouts = Rollouts(house.database, self.publisher, house.clock)
        self.channels = Channels(house.database, house.clock)
        self.reports = Reports(house.database, DeviceKeys(house.database), house.clock)

    async def fill(self, count: int, current: str | None = "m@1") -> None:
        """Devices, a channel, and three versions; everybody runs the current one."""
        for version in ("m@1", "m@2", "m@3"):
            await self.house.add_artifact(version)
        self.devices = [await self.house.add_device(site="lab") for _ in range(count)]
        await self.channels.set(CHANNEL, selector="site=lab", artifact=current, actor=ADMIN)
        await self.publisher.refresh()
        await self.let_devices("committed")

    async def create(self, to: str = "m@2", **settings: str) -> RolloutView:
        return await self.rollouts.create(
            RolloutRequest(CHANNEL, to, **{"soak": "0s", **settings}), actor=ADMIN
        )

    async def let_devices(self, state: SlotState, *, only: list[FakeDevice] | None = None) -> int:
        """Devices follow what they got and report how it ended; how many had something new."""
        moved = 0
        for device in self.devices if only is None else only:
            got = self.sent.to(device.id, "desired")
            if not got or device.follow(got[-1]).slots.get(CHANNEL) is None:
                continue
            assert device.desired is not None
            slot = device.slots.get(CHANNEL)
            wanted = device.desired.slots[CHANNEL]
            if slot is not None and (slot.target_path, slot.attempt) == (wanted.target.path, wanted.attempt):
                continue
            reason = (
                Reason(code="acceptance_failed", message="no completion") if state == "rolled_back" else None
            )
            device.settle(CHANNEL, state, reason)
            await self.reports.accept(device.id, device.report())
            moved += 1
        await self.rollouts.tick()
        return moved

    def running(self) -> dict[str, int]:
        """Target path -> how many devices run it."""
        counts: dict[str, int] = {}
        for device in self.devices:
            slot = device.slots.get(CHANNEL)
            path = slot.target_path if slot and slot.state == "committed" and slot.target_path else "other"
            counts[path] = counts.get(path, 0) + 1
        return counts


@pytest.fixture
def scene(house: House) -> Scene:
    return Scene(house)


async def test_a_version_goes_out_wave_by_wave_and_the_channel_moves_at_the_end(scene: Scene) -> None:
    await scene.fill(4)
    made = await scene.create(waves="1,50%,100%")
    assert (made.state, made.counts) == ("running", {"devices": 4, "pending": 1, "unassigned": 3})
    assert [await scene.let_devices("committed") for _ in range(3)] == [1, 1, 2]
    done = await scene.rollouts.show(made.id)
    assert (done.state, done.counts) == ("succeeded", {"devices": 4, "committed": 4})
    assert done.reason == "4 of 4 devices committed"
    assert (await scene.channels.show(CHANNEL)).current == "m@2"
    sent_before = len(scene.sent.messages)
    await scene.publisher.refresh()
    assert len(scene.sent.messages) == sent_before, "the end of a rollout changes nothing on devices"


async def test_a_device_that_joins_after_it_gets_the_new_version(scene: Scene) -> None:
    await scene.fill(1)
    await scene.create(waves="100%")
    await scene.let_devices("committed")
    late = await scene.house.add_device(site="lab")
    await scene.publisher.refresh([late.id])
    assert late.follow(scene.sent.to(late.id, "desired")[-1]).slots[CHANNEL].target.path == "models/m/2.json"


async def test_a_bad_version_stops_at_the_first_device_and_says_why(scene: Scene) -> None:
    await scene.fill(3)
    made = await scene.create(waves="1,100%", max_failures="0")
    assert await scene.let_devices("rolled_back") == 1
    paused = await scene.rollouts.show(made.id)
    assert paused.state == "paused"
    assert paused.reason is not None
    assert "acceptance_failed: no completion" in paused.reason
    assert paused.counts == {"devices": 3, "failed": 1, "unassigned": 2}
    (failed,) = [device for device in paused.devices if device.standing == "failed"]
    assert (failed.reason_code, failed.reason) == ("acceptance_failed", "no completion")
    assert (await scene.channels.show(CHANNEL)).current == "m@1"


async def test_resume_tries_failed_devices_again_as_a_new_attempt(scene: Scene) -> None:
    await scene.fill(2)
    made = await scene.create(waves="1,100%", max_failures="0")
    await scene.let_devices("rolled_back")
    first_try = {device.device: device.attempt for device in (await scene.rollouts.show(made.id)).devices}
    resumed = await scene.rollouts.resume(made.id, actor=ADMIN)
    assert (resumed.state, resumed.reason) == ("running", None)
    (again,) = [device for device in resumed.devices if device.standing == "pending"]
    assert again.attempt == (first_try[again.device] or 0) + 1
    await scene.let_devices("committed")
    await scene.let_devices("committed")
    assert (await scene.rollouts.show(made.id)).state == "succeeded"


async def test_abort_takes_devices_back(scene: Scene) -> None:
    await scene.fill(3)
    made = await scene.create(waves="1,100%")
    await scene.let_devices("committed")
    aborted = await scene.rollouts.abort(made.id, actor=ADMIN)
    assert (aborted.state, aborted.reason) == ("aborted", "aborted by admin:a")
    assert await scene.let_devices("committed") == 3
    assert scene.running() == {"models/m/1.json": 3}
    assert (await scene.channels.show(CHANNEL)).current == "m@1"


async def test_abort_of_a_first_version_leaves_devices_alone(scene: Scene) -> None:
    await scene.fill(2, current=None)
    made = await scene.create(waves="1,100%")
    (assigned,) = [device for device in made.devices if device.standing == "pending"]
    await scene.rollouts.abort(made.id, actor=ADMIN)
    device = next(each for each in scene.devices if each.id == assigned.device)
    assert device.follow(scene.sent.to(device.id, "desired")[-1]).slots == {}


async def test_the_same_version_can_be_tried_again_after_an_abort(scene: Scene) -> None:
    await scene.fill(1)
    first = await scene.create(waves="100%", max_failures="0")
    await scene.let_devices("rolled_back")
    await scene.rollouts.abort(first.id, actor=ADMIN)
    await scene.let_devices("committed")
    second = await scene.create(waves="100%")
    assert (await scene.rollouts.show(second.id)).state == "running", "the old failure does not count"
    await scene.let_devices("committed")
    assert (await scene.rollouts.show(second.id)).state == "succeeded"


async def test_a_device_that_runs_the_version_already_is_not_bothered(scene: Scene) -> None:
    await scene.fill(1)
    await scene.create("m@2", waves="100%")
    await scene.let_devices("committed")
    sent_before = len(scene.sent.to(scene.devices[0].id, "desired"))
    again = await scene.create("m@2", waves="100%")
    assert again.state == "succeeded"
    new = scene.sent.to(scene.devices[0].id, "desired")[sent_before:]
    assert [scene.devices[0].follow(each).slots[CHANNEL].attempt for each in new] == [2] * len(new)


async def test_soak_time_passes_by_the_clock(scene: Scene) -> None:
    await scene.fill(1)
    made = await scene.create(waves="100%", soak="10m")
    await scene.let_devices("committed")
    soaking = await scene.rollouts.show(made.id)
    assert (soaking.state, soaking.soak_until is not None) == ("running", True)
    scene.house.clock.forward(601)
    await scene.rollouts.tick()
    assert (await scene.rollouts.show(made.id)).state == "succeeded"


async def test_a_window_holds_assignments_back(scene: Scene) -> None:
    await scene.fill(1)
    made = await scene.create(waves="100%", window="0 9 * * * 1h")  # the clock says 08:00
    assert (made.counts, made.window_open) == ({"devices": 1, "unassigned": 1}, False)
    scene.house.clock.forward(3600)
    await scene.rollouts.tick()
    assert (await scene.rollouts.show(made.id)).counts == {"devices": 1, "pending": 1}


async def test_a_restarted_controller_goes_on(scene: Scene) -> None:
    await scene.fill(3)
    made = await scene.create(waves="1,100%")
    await scene.let_devices("committed")
    scene.rollouts = Rollouts(scene.house.database, scene.publisher, scene.house.clock)
    await scene.let_devices("committed")
    assert (await scene.rollouts.show(made.id)).state == "succeeded"


async def test_a_channel_that_nobody_follows_moves_at_once_and_says_so(scene: Scene) -> None:
    await scene.fill(0)
    made = await scene.create()
    assert (made.state, made.reason) == ("succeeded", "no device follows the channel; nothing was measured")
    assert (await scene.channels.show(CHANNEL)).current == "m@2"


async def test_a_pause_by_hand_assigns_nobody_further(scene: Scene) -> None:
    await scene.fill(3)
    made = await scene.create(waves="1,100%")
    await scene.rollouts.pause(made.id, actor=ADMIN)
    await scene.let_devices("committed")
    assert (await scene.rollouts.show(made.id)).counts == {"devices": 3, "committed": 1, "unassigned": 2}
    with pytest.raises(ConflictError):
        await scene.rollouts.pause(made.id, actor=ADMIN)
    await scene.rollouts.resume(made.id, actor=ADMIN)
    assert await scene.let_devices("committed") == 2
    with pytest.raises(ConflictError):
        await scene.rollouts.resume(made.id, actor=ADMIN)


async def test_mistakes_are_named_and_leave_nothing(scene: Scene) -> None:
    await scene.fill(1)
    with pytest.raises(NotFoundError):
        await scene.rollouts.create(RolloutRequest("other/stable", "m@2"), actor=ADMIN)
    with pytest.raises(NotFoundError, match="of m there is"):
        await scene.create("m@9")
    for wrong in ({"waves": "1,50%"}, {"max_failures": "many"}, {"soak": "long"}, {"window": "nightly"}):
        with pytest.raises(UsageError):
            await scene.create(**wrong)
    assert await scene.rollouts.list() == []
    running = await scene.create()
    with pytest.raises(ConflictError, match=running.id):
        await scene.create("m@3")


async def test_the_audit_log_tells_the_story(scene: Scene) -> None:
    await scene.fill(1)
    made = await scene.create(waves="100%")
    await scene.let_devices("committed")
    log = await entries(scene.house.database, limit=10)
    assert [(each["actor"], each["action"]) for each in log if each["subject"] == made.id] == [
        ("system", "rollout_succeeded"),
        ("admin:a", "rollout_created"),
    ]


async def test_a_device_that_reports_absurd_attempts_stops_nobody_elses_rollout(scene: Scene) -> None:
    await scene.fill(2)
    liar, honest = scene.devices
    slot = msgspec.structs.replace(liar.slots[CHANNEL], attempt=2**63 - 1)
    liar.slots[CHANNEL] = slot
    with pytest.raises(ProtocolError):
        await scene.reports.accept(liar.id, liar.report())
    await scene.create(waves="100%", max_failures="50%")
    await scene.let_devices("committed", only=[honest])
    assert honest.slots[CHANNEL].target_path == "models/m/2.json"


async def test_the_planner_goes_on_after_something_unforeseen(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.fill(1)
    calls = 0
    done = asyncio.Event()

    async def tick(**_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OverflowError("a row that nobody foresaw")
        done.set()

    monkeypatch.setattr(scene.rollouts, "tick", tick)
    task = asyncio.create_task(scene.rollouts.run(0.01))
    try:
        async with asyncio.timeout(5):
            await done.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

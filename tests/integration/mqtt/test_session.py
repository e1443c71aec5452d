"""The controller and devices over a real broker with mutual TLS."""

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiomqtt
import pytest

from skerry_controller.audit import entries
from skerry_controller.errors import WorldError
from skerry_controller.mqtt import FleetSide, NoReplyError
from skerry_controller.rollouts import RolloutRequest
from skerry_protocol.envelope import open_sealed
from skerry_protocol.records import decode_acknowledgement
from support.fake_device import FakeDevice, sample
from support.fleet_side import CHANNEL
from support.mqtt_device import DeviceSession, connected
from support.mqtt_site import Site, eventually

if TYPE_CHECKING:
    from skerry_protocol.topics import UpLeaf

pytestmark = pytest.mark.broker


async def follow_and_commit(session: DeviceSession) -> None:
    """What an agent does with a desired state, in short."""
    while True:
        session.device.follow(await session.receive("desired", 60))
        await session.publish("reported", session.device.report())
        for channel in session.device.desired.slots if session.device.desired else ():
            session.device.settle(channel)
        await session.publish("reported", session.device.report())


async def test_a_rollout_goes_through_two_devices(site: Site) -> None:
    await site.house.add_artifact("m@1")
    devices = [await site.house.add_device(site="lab") for _ in range(2)]
    async with (
        site.controller() as side,
        connected(site.broker, devices[0]) as a,
        connected(site.broker, devices[1]) as b,
    ):
        await side.channels.set(CHANNEL, selector="site=lab", artifact=None, actor="admin:a")
        made = await side.rollouts.create(
            RolloutRequest(CHANNEL, "m@1", waves="1,100%", soak="0s"), actor="admin:a"
        )
        agents = [asyncio.create_task(follow_and_commit(each)) for each in (a, b)]

        async def succeeded() -> bool:
            return bool((await side.rollouts.show(made.id)).state == "succeeded")

        await eventually(succeeded)
        views = await side.devices.list("site=lab")
        assert [(view.presence, view.in_sync) for view in views] == [("online", True)] * 2
        for agent in agents:
            agent.cancel()
        await asyncio.wait(agents)


async def test_a_device_that_comes_late_finds_its_desired_state(site: Site) -> None:
    device = await site.house.add_device(site="lab")
    await site.house.add_artifact("m@1")
    async with site.controller() as side:
        await side.channels.set(CHANNEL, selector="site=lab", artifact="m@1", actor="admin:a")
        side.on_enrolled(device.id)

        async def allocated() -> bool:
            return (await side.devices.show(device.id)).desired_generation is not None

        await eventually(allocated)
        async with connected(site.broker, device) as session:
            assert device.follow(await session.receive("desired")).slots[CHANNEL].attempt == 1


async def test_a_broker_that_lost_everything_is_filled_again(site: Site) -> None:
    device = await site.house.add_device(site="lab")
    await site.house.add_artifact("m@1")
    await site.side.channels.set(CHANNEL, selector="site=lab", artifact="m@1", actor="admin:a")
    await site.side.publisher.refresh()  # not connected: stored only
    async with site.controller(), connected(site.broker, device) as session:
        await session.publish("reported", device.report())
        device.follow(await session.receive("desired"))
        assert device.mark is not None


async def test_records_are_acknowledged_after_the_commit(site: Site) -> None:
    device = await site.house.add_device()
    async with site.controller() as side, connected(site.broker, device) as session:
        for leaf in ("telemetry", "events", "telemetry"):
            await session.publish(
                "telemetry" if leaf == "telemetry" else "events", device.batch("s", [sample(0)])
            )
            opened = open_sealed(await session.receive("ack"), "ack", device.directors)
            assert decode_acknowledgement(opened).streams == {"s": [(0, 0)]}
        assert (await side.telemetry.counts(device.id)).samples == 1


async def test_telemetry_of_an_outage_arrives_once(site: Site) -> None:
    device = await site.house.add_device()
    async with site.controller() as side:
        await site.broker.broker.stop()
        await eventually(lambda: _not_connected(site))
        await site.broker.broker.start()
        async with asyncio.timeout(20):
            await side.mqtt.connected.wait()
        async with connected(site.broker, device) as session:
            for _ in range(2):
                await session.publish("telemetry", device.batch("s", [sample(n) for n in range(50)]))
                await session.receive("ack")
        counts = await side.telemetry.counts(device.id)
        assert (counts.samples, counts.duplicates) == (50, 50)


async def _not_connected(site: Site) -> bool:
    return not site.side.mqtt.connected.is_set()


async def test_presence_follows_the_session(site: Site) -> None:
    device = await site.house.add_device()
    async with site.controller() as side:

        async def presence_is(expected: str) -> bool:
            return (await side.devices.show(device.id)).presence == expected

        async with connected(site.broker, device):
            await eventually(lambda: presence_is("online"))
        await site.broker.broker.stop()
        await eventually(lambda: presence_is("offline"))
        await site.broker.broker.start()


async def test_a_controller_that_was_away_asks_devices_to_report(site: Site) -> None:
    device = await site.house.add_device()
    async with connected(site.broker, device) as session, site.controller() as side:
        command = await session.receive("command")
        await session.publish("reply", device.reply(command))
        await session.publish("reported", device.report())

        async def has_reported() -> bool:
            return (await side.devices.show(device.id)).reported is not None

        await eventually(has_reported)
        assert (await side.devices.show(device.id)).presence == "online"


async def test_a_command_gets_its_signed_reply(site: Site) -> None:
    device = await site.house.add_device()
    other = await site.house.add_device()
    async with site.controller() as side, connected(site.broker, device) as session:
        waiting = asyncio.create_task(
            side.commands.send(device.id, "rollback", {"slot": CHANNEL}, timeout_s=10)
        )
        command = await session.receive("command")
        forged = FakeDevice(device.id, device.directors, other.key).reply(command, message="forged")
        await session.publish("reply", forged)
        await session.publish("reply", device.reply(command, ok=False, message="no previous version"))
        reply = await waiting
        assert (reply.ok, reply.message) == (False, "no previous version")

        async def refusals() -> list[object]:
            log = await entries(site.house.database, limit=5, action="message_refused")
            return [each["detail"]["code"] for each in log]

        await eventually(lambda: _equals(refusals, ["bad_signature"]))


async def _equals(get: object, expected: object) -> bool:
    assert callable(get)
    return bool(await get() == expected)


async def test_no_reply_and_no_broker_are_told_apart(site: Site) -> None:
    device = await site.house.add_device()
    async with site.controller() as side:
        with pytest.raises(NoReplyError, match="did not reply to ping within"):
            await side.commands.send(device.id, "ping", timeout_s=0.1)
    with pytest.raises(WorldError, match="no connection to its broker"):
        await site.side.commands.send(device.id, "ping", timeout_s=0.1)


async def test_bad_messages_are_written_down_and_do_no_harm(site: Site) -> None:
    device = await site.house.add_device()
    other = await site.house.add_device()
    device.counter = other.counter = 1
    bad: dict[str, tuple[UpLeaf, bytes]] = {
        "not_json": ("reported", b"{nonsense"),
        "bad_signature": ("reported", other.report()),
        "wrong_device": ("reported", device.sealed_report(device.report_of(other.id))),
        "malformed": ("telemetry", b"\x00\x01"),
        "too_large": ("telemetry", b"\x00" * 200_000),
    }
    async with site.controller() as side, connected(site.broker, device) as session:

        async def written() -> set[object]:
            log = await side.telemetry.log(device.id, since=site.house.clock.now.replace(year=2020), limit=50)
            return {entry.data["code"] for entry in log if entry.source == "controller"}

        for code, (leaf, payload) in bad.items():
            await session.publish(leaf, payload)
            await eventually(lambda code=code: _includes(written, {code}))  # type: ignore[misc]  # mypy infers no default
        await session.publish("reported", device.report())

        async def has_reported() -> bool:
            return (await side.devices.show(device.id)).reported is not None

        await eventually(has_reported)


async def _includes(get: object, expected: set[object]) -> bool:
    assert callable(get)
    return bool(await get() >= expected)


async def test_a_retained_report_is_no_report(site: Site) -> None:
    device = await site.house.add_device()
    async with connected(site.broker, device, announce=False) as session:
        await session.publish("reported", device.report(), retain=True)
        async with site.controller() as side:
            await session.publish("status", device.status(online=True), retain=True)

            async def online() -> bool:
                return (await side.devices.show(device.id)).presence == "online"

            await eventually(online)
            assert (await side.devices.show(device.id)).reported is None


async def test_after_an_overflow_the_session_starts_anew_and_devices_are_asked(site: Site) -> None:
    device = await site.house.add_device()
    site.max_waiting_bytes = 2000
    async with site.controller() as side, connected(site.broker, device) as session:
        await eventually(lambda: _is_online(side, device))
        await session.publish("telemetry", b"x" * 3000)
        command = await session.receive("command", 15)
        await session.publish("reply", device.reply(command))
        await eventually(lambda: _is_online(side, device))


async def _is_online(side: FleetSide, device: FakeDevice) -> bool:
    return (await side.devices.show(device.id)).presence == "online"


async def test_a_device_with_a_huge_retained_status_stops_nobody_else(site: Site) -> None:
    mallory, honest = [await site.house.add_device() for _ in range(2)]
    site.max_waiting_bytes = 512 * 1024
    async with connected(site.broker, mallory) as session:
        with contextlib.suppress(aiomqtt.MqttError):
            await session.publish("status", b"x" * 2 * 1024 * 1024, retain=True)
    async with site.controller(), connected(site.broker, honest) as session:
        await session.publish("telemetry", honest.batch("s", [sample(0)]))
        await session.receive("ack")

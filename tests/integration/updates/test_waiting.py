"""What an update waits for, and until when: windows, places in a fleet, room on the disk."""

import asyncio
import errno

import pytest

from skerry_agent.registry import NoSpaceError, RegistryLimits
from skerry_agent.updates import UpdateLimits
from support.registry import FailingDisk
from support.updates import CHANNEL, Published, World


async def test_a_download_outside_its_window_waits_for_it(world: World, one: Published) -> None:
    waits = [3600.0, 1800.0]
    world.closed_s = lambda: waits.pop(0) if waits else 0.0
    world.publish(one)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    report = await world.until_true(lambda r: r.waits_until is not None)
    assert report.reason is not None
    assert (report.state, report.reason.code, report.waits_until) == (
        "downloading",
        "outside_download_window",
        3600,
    )
    await world.until("committed")
    assert world.clock.pauses == [3600.0, 1800.0]


async def test_a_window_that_ends_stops_a_download_at_a_chunk_and_the_next_one_goes_on(
    world: World, one: Published
) -> None:
    source = world.sources[0]
    world.closed_s = lambda: 3600.0 if sum(source.served.values()) == 3 and not world.clock.pauses else 0.0
    world.publish(one)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    report = await world.until_true(lambda r: r.reason is not None)
    assert report.bytes_done == sum(chunk.length for chunk in one.entry.chunks[:3])
    await world.until("committed")
    assert set(source.served.values()) == {1}
    assert world.clock.pauses == [3600.0]


async def test_what_is_here_already_needs_no_window(world: World, one: Published, two: Published) -> None:
    await world.start()
    world.publish(one)
    await world.follow(1, {CHANNEL: one})
    await world.until("committed")
    world.closed_s = lambda: 3600.0
    await world.follow(2, {CHANNEL: one, "other/stable": one})
    await world.until("committed", slot="other/stable")


async def test_a_download_begins_at_the_device_s_own_moment(world: World, one: Published) -> None:
    world.spread_s = 600.0
    world.publish(one)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    report = await world.until_true(lambda r: r.reason is not None)
    assert report.reason is not None
    assert report.reason.code == "spread_out"
    await world.until("committed")
    (pause_s,) = world.clock.pauses
    assert 0 < pause_s < 600


async def asked(world: World, times: int) -> None:
    async with asyncio.timeout(20):
        while world.sources[0].calls < times:  # noqa: ASYNC110 - the source counts, and tells nobody
            await asyncio.sleep(0.005)


async def test_somebody_at_the_device_ends_the_waiting_for_a_network(world: World, one: Published) -> None:
    hold = world.sources[0].hold = asyncio.Event()
    world.publish(one)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    await asked(world, 1)
    world.engine.hurry()
    # The round is cut off, and another begins at once: with a stick, it brings what that has.
    await asked(world, 2)
    hold.set()
    await world.until("committed")


async def test_a_refusal_for_room_names_the_bytes_and_ends_when_so_many_more_are_there(
    world: World, one: Published
) -> None:
    disk = world.disk = FailingDisk()
    world.registry_limits = RegistryLimits(min_free_bytes=1000, journal_sync_bytes=1)
    disk.free = len(one.data) + 1000 - 12_345
    world.publish(one)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    report = await world.until("refused")
    assert report.reason is not None
    assert report.reason.message.startswith(f"{len(one.data)} bytes are needed and 12345 of them are missing")
    assert report.bytes_fetched == world.sources[0].calls == 0
    disk.free += 12_344
    await rechecked(world, 3)
    assert world.engine.reports()[CHANNEL].state == "refused"
    assert "preallocate" not in disk.calls
    disk.free += 1
    await world.until("committed")


async def test_a_disk_that_fills_up_meanwhile_is_tried_again_only_when_it_has_more(
    world: World, one: Published
) -> None:
    disk = world.disk = FailingDisk()
    disk.free = 10 * len(one.data)  # it claims to have room: a quota, or blocks that are reserved
    world.publish(one)
    await world.start()
    gate = world.sources[0].hold = asyncio.Event()
    await world.follow(1, {CHANNEL: one})
    await world.until("downloading")
    disk.fail["write_at"] = errno.ENOSPC
    gate.set()
    report = await world.until("refused")
    assert report.reason is not None
    assert report.reason.code == "no_space"
    assert f"and {one.entry.chunks[0].length} bytes are missing" in report.reason.message
    tried = disk.calls.count("write_at")
    await rechecked(world, 5)
    assert disk.calls.count("write_at") == tried
    disk.fail.clear()
    disk.free += one.entry.chunks[0].length
    await world.until("committed")


async def test_garbage_goes_before_an_update_is_refused_but_not_for_nothing(
    world: World, one: Published, two: Published
) -> None:
    world.registry_limits = RegistryLimits(
        min_free_bytes=0, journal_sync_bytes=1, disk_budget_bytes=len(one.data) + len(two.data) + 8192
    )
    await world.start()
    for number, published in enumerate((one, two), start=1):
        world.publish(published)
        await world.follow(number, {f"slot{number}/stable": published})
        await world.until("committed", slot=f"slot{number}/stable")
    await world.registry.deactivate("slot1/stable")
    # Too large even without the version that serves nowhere: that one stays.
    assert await world.registry.room_bytes() >= len(one.data)
    huge = await world.registry.room_bytes() + 1
    with pytest.raises(NoSpaceError) as caught:
        await world.registry.reserve(huge)
    assert caught.value.missing_bytes == 1
    assert {a.ref for a in world.registry.artifacts_now} == {"smol@1", "smol@2"}
    await world.registry.reserve(huge - 1)
    assert {a.ref for a in world.registry.artifacts_now} == {"smol@2"}


async def test_the_speed_and_its_source_are_told_while_bytes_come(world: World, one: Published) -> None:
    gate = world.sources[0].hold = asyncio.Event()
    world.limits = UpdateLimits(progress_s=0.0)
    world.publish(one)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    gate.set()
    report = await world.until_true(lambda r: r.bytes_per_s > 0)
    assert (report.state, report.source) == ("downloading", "net")
    report = await world.until("committed")
    assert (report.bytes_per_s, report.source, report.waits_until) == (0, None, None)


async def rechecked(world: World, times: int) -> None:
    """Let so many looks at the refusal pass."""
    wanted = world.clock.now + times * world.limits.recheck_s
    async with asyncio.timeout(20):
        while world.clock.now < wanted:  # noqa: ASYNC110 - the fake clock tells nobody
            await asyncio.sleep(0.001)

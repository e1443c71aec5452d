"""A version that passed its checks takes requests on trial, and stays only when it is no worse."""

import pytest

from skerry_agent.database import DatabaseFullError
from skerry_agent.errors import WorldError
from skerry_agent.runtime import HealthCounts
from skerry_agent.updates import UpdateLimits
from skerry_agent.updates.record import SlotRecord
from support.updates import CHANNEL, CrashError, Published, World

FAST = HealthCounts(finished=20, first_token_s=1.0, decoded=200, decode_s=20.0)
SLOW = HealthCounts(finished=20, first_token_s=1.0, decoded=200, decode_s=60.0)


async def soaking(world: World, one: Published, two: Published) -> None:
    """Version 1 is committed, version 2 takes requests, and time stands still."""
    for published in (one, two):
        world.publish(published)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    await world.until("committed")
    world.health.by_file[one.entry.sha256] = FAST
    world.clock.stopped = True
    await world.follow(2, {CHANNEL: two})
    await world.until_true(lambda r: r.reason is not None and r.reason.code == "soaking")


def record(world: World) -> SlotRecord:
    return world.engine._ledger.records[CHANNEL]


async def serving(world: World) -> str:
    return (await world.registry.find(CHANNEL)).ref


async def test_while_it_soaks_it_serves_and_nothing_says_that_it_is_done(
    world: World, one: Published, two: Published
) -> None:
    await soaking(world, one, two)
    report = world.engine.reports()[CHANNEL]
    assert report.state == "trial"
    assert report.reason is not None
    assert report.reason.message == "takes requests on trial for 300 s"
    assert await serving(world) == "smol@2"
    slot = world.registry.slots_now[CHANNEL]
    assert slot.previous is not None
    assert slot.previous.ref == "smol@1"
    assert world.events.of("update_committed")[-1]["target"] == one.target.path
    settled = world.trier.settled
    world.clock.stopped = False
    world.engine.nudge()
    report = await world.until("committed")
    assert report.figures["soak_s"] == 300.0
    assert report.figures["before_tokens_per_s"] == 10.0
    assert report.figures["tokens_per_s"] == 9.0
    assert world.trier.settled == settled + 1
    assert world.events.of("update_committed")[-1]["soak_s"] == 300.0


async def test_a_version_that_is_slower_with_real_requests_goes_back_by_itself(
    world: World, one: Published, two: Published
) -> None:
    await soaking(world, one, two)
    world.health.by_file[two.entry.sha256] = SLOW
    world.engine.nudge()
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "soak_slow"
    assert "3.3 tokens/s over 20 requests; 10.0 before" in report.reason.message
    assert await serving(world) == "smol@1"
    assert report.active is not None
    assert report.active.ref == "smol@1"
    told = world.events.of("update_rolled_back")[-1]
    assert (told["code"], told["soak_tokens_per_s"], told["generation"]) == ("soak_slow", 3.33, "1.2")
    # Not again in this attempt; in the next one.
    world.health.by_file.clear()
    await world.follow(3, {CHANNEL: two})
    assert (await world.until_true(lambda r: r.state == "rolled_back")).reason == report.reason
    world.clock.stopped = False
    await world.follow(4, {CHANNEL: two}, attempt=2)
    await world.until("committed")
    assert await serving(world) == "smol@2"


@pytest.mark.parametrize(
    ("counts", "code"),
    [(HealthCounts(crashes=3), "soak_crashes"), (HealthCounts(finished=3, failed=3), "soak_errors")],
)
async def test_crashes_and_errors_send_it_back(
    world: World, one: Published, two: Published, counts: HealthCounts, code: str
) -> None:
    await soaking(world, one, two)
    world.health.by_file[two.entry.sha256] = counts
    world.engine.nudge()
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == code


async def test_what_was_counted_of_the_version_at_other_times_does_not_count(
    world: World, one: Published, two: Published
) -> None:
    world.health.by_file[two.entry.sha256] = HealthCounts(finished=90, failed=90, crashes=9)
    await soaking(world, one, two)
    world.clock.stopped = False
    world.engine.nudge()
    assert (await world.until("committed")).figures["soak_requests"] == 0


async def test_a_restart_goes_on_with_the_rest_of_the_soak(
    world: World, one: Published, two: Published
) -> None:
    world.limits = UpdateLimits(soak_store_s=0.0)
    await soaking(world, one, two)
    world.health.by_file[two.entry.sha256] = HealthCounts(finished=5, crashes=2)
    world.clock.now += 200.0
    world.engine.nudge()
    await world.until_true(lambda r: r.figures.get("soak_s") == 200.0)
    # Another process: its clock and its counters begin at zero.
    await world.crash()
    world.clock.now = 3.0
    world.health.by_file.clear()
    world.health.temperature = 40.0
    await world.start()
    await world.until_true(lambda r: r.figures.get("soak_celsius") == 40.0)
    assert world.trier.tried.count("smol@2") == 1
    world.clock.now += 60.0
    world.engine.nudge()
    await world.until_true(lambda r: r.figures.get("soak_s") == 260.0)
    assert await serving(world) == "smol@2"
    world.health.by_file[two.entry.sha256] = HealthCounts(crashes=1)
    world.engine.nudge()
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "soak_crashes"


async def test_an_agent_that_dies_again_and_again_in_the_soak_goes_back(
    world: World, one: Published, two: Published
) -> None:
    await soaking(world, one, two)
    for _ in range(world.limits.max_soak_starts - 1):
        await world.restart()
        assert await serving(world) == "smol@2"
    await world.restart()
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "crash_loop"
    assert await serving(world) == "smol@1"


async def test_an_agent_that_is_stopped_in_order_does_not_speak_against_the_version(
    world: World, one: Published, two: Published
) -> None:
    await soaking(world, one, two)
    for _ in range(world.limits.max_soak_starts + 1):
        await world.crash()
        world._left.pop()
        await world.engine.close()
        await world.registry.close()
        await world.start()
    assert world.engine.reports()[CHANNEL].state == "trial"
    assert await serving(world) == "smol@2"


async def test_a_person_goes_back_during_the_soak_without_any_network(
    world: World, one: Published, two: Published
) -> None:
    await soaking(world, one, two)
    world.sources[0].down = True
    world.targets.fail = [WorldError("no network")] * 9
    slot = await world.engine.rollback(CHANNEL)
    assert slot.active is not None
    assert slot.active.ref == "smol@1"
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "rolled_back_by_hand"


async def test_what_is_not_wanted_any_more_goes_back_unproven_and_may_come_again(
    world: World, one: Published, two: Published
) -> None:
    await soaking(world, one, two)
    await world.follow(3, {CHANNEL: one})
    await world.until_true(lambda r: r.state == "committed" and r.target_path == one.target.path)
    assert await serving(world) == "smol@1"
    world.clock.stopped = False
    await world.follow(4, {CHANNEL: two})
    await world.until_true(lambda r: r.state == "committed" and r.target_path == two.target.path)
    assert await serving(world) == "smol@2"


async def test_news_that_come_while_it_is_looked_at_do_not_wait_for_the_pause_after_that(
    world: World, one: Published, two: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    await soaking(world, one, two)
    ledger = world.engine._ledger
    manifest_of = ledger.manifest

    async def news_on_the_way(record: SlotRecord) -> bytes | None:
        monkeypatch.undo()
        await world.follow(3, {CHANNEL: one})
        return await manifest_of(record)

    monkeypatch.setattr(ledger, "manifest", news_on_the_way)
    world.engine.nudge()
    await world.until_true(lambda r: r.state == "committed" and r.target_path == one.target.path)


async def test_the_first_version_of_a_slot_has_nothing_to_be_compared_with_nor_to_go_back_to(
    world: World, one: Published
) -> None:
    world.publish(one)
    world.clock.stopped = True
    await world.start()
    await world.follow(1, {CHANNEL: one})
    assert "soak_s" not in (await world.until("committed")).figures


async def test_a_version_whose_predecessor_is_lost_cannot_go_back_and_is_not_called_proven(
    world: World, one: Published, two: Published
) -> None:
    await soaking(world, one, two)
    previous = world.registry.slots_now[CHANNEL].previous
    assert previous is not None
    await world.crash()
    previous.path.unlink()
    await world.start()
    world.health.by_file[two.entry.sha256] = HealthCounts(crashes=3)
    world.engine.nudge()
    report = await world.until("refused")
    assert report.reason is not None
    assert report.reason.code == "no_way_back"
    assert await serving(world) == "smol@2"
    await world.restart()
    await world.follow(3, {CHANNEL: two})
    assert (await world.until_true(lambda r: r.state != "idle")).state == "refused"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("store", [1, 2])
async def test_killed_on_the_way_back_it_is_carried_through(
    world: World, one: Published, two: Published, store: int, when: str
) -> None:
    await soaking(world, one, two)
    world.health.by_file[two.entry.sha256] = HealthCounts(crashes=3)
    at = world._stores + store
    world.crash_at_store = at if when == "before" else -at
    world.engine.nudge()
    with pytest.raises(CrashError):
        await world.until("rolled_back")
    await world.restart()
    world.engine.nudge()
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "soak_crashes"
    assert await serving(world) == "smol@1"


async def test_another_version_that_a_person_activates_ends_the_soak(
    world: World, one: Published, two: Published
) -> None:
    await soaking(world, one, two)
    await world.registry.activate(CHANNEL, "smol@1")
    world.engine.nudge()
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "not_active"
    assert await serving(world) == "smol@1"


async def test_a_disk_that_fails_on_the_way_back_is_what_it_waits_for_and_not_why_it_goes_back(
    world: World, one: Published, two: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    await soaking(world, one, two)

    async def refuse(slot: str, *, held_by: str | None = None) -> None:
        raise DatabaseFullError(f"no room to switch {slot} for {held_by}")

    monkeypatch.setattr(world.registry, "rollback", refuse)
    world.health.by_file[two.entry.sha256] = HealthCounts(crashes=3)
    world.engine.nudge()
    report = await world.until_true(lambda r: r.reason is not None and r.reason.code == "no_space")
    assert report.state == "trial"
    monkeypatch.undo()
    await world.restart()
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "soak_crashes"
    assert await serving(world) == "smol@1"

"""The agent is killed. Whatever it did, the next start goes on or goes back, and one model always serves."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from skerry_agent.database import DatabaseError, DatabaseFullError
from skerry_agent.registry import RegistryLimits
from skerry_agent.runtime import ModelFile
from skerry_agent.updates import UpdateLimits
from skerry_agent.updates.record import SlotRecord
from support.updates import CHANNEL, CrashError, Published, World

STORES = 11
"""One more than the times that the engine stores a record on the way to ``committed``."""
QUIET = UpdateLimits(progress_s=1e9, soak_s=10.0, soak_look_s=5.0, soak_store_s=5.0)


async def prepare(world: World, one: Published) -> None:
    """Version 1 serves."""
    world.limits = QUIET
    world.publish(one)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    await world.until("committed")


async def run_until_crash(world: World, published: Published) -> None:
    await world.follow(2, {CHANNEL: published})
    with pytest.raises(CrashError):
        await world.until_true(lambda r: r.state == "committed" and r.target_path == published.target.path)


async def finish(world: World, published: Published) -> None:
    """Start again, and let the update end well."""
    await world.restart()
    assert await serving(world) in ("smol@1", "smol@2")
    await world.until_true(lambda r: r.state == "committed" and r.target_path == published.target.path)
    assert await serving(world) == "smol@2"
    assert (await world.registry.find(CHANNEL)).path.read_bytes() == published.data
    assert not list((world.folder / "registry" / "partial").iterdir())
    assert max(world.sources[0].served.values()) == 1


async def serving(world: World) -> str:
    return (await world.registry.find(CHANNEL)).ref


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("store", range(1, STORES))
async def test_killed_around_each_stored_state(
    world: World, one: Published, two: Published, store: int, when: str
) -> None:
    await prepare(world, one)
    world.publish(two)
    at = world._stores + store
    world.crash_at_store = at if when == "before" else -at
    await run_until_crash(world, two)
    await finish(world, two)
    assert world.states[-1] == "committed"


async def test_the_walk_above_covers_every_store(world: World, one: Published, two: Published) -> None:
    await prepare(world, one)
    world.publish(two)
    before = world._stores
    await world.follow(2, {CHANNEL: two})
    await world.until_true(lambda r: r.state == "committed" and r.target_path == two.target.path)
    # One more, which notes that the end was told, may be under way.
    assert world._stores - before in (STORES - 1, STORES)


@pytest.mark.parametrize("chunks", [0, 1, 3])
@pytest.mark.parametrize("journaled", [True, False])
async def test_killed_in_the_middle_of_a_download_nothing_verified_is_fetched_again(
    world: World, one: Published, two: Published, chunks: int, journaled: bool
) -> None:
    if not journaled:
        world.registry_limits = RegistryLimits(min_free_bytes=0)
    await prepare(world, one)
    world.publish(two)
    world.sources[0].crash_after = chunks
    await run_until_crash(world, two)
    world.sources[0].crash_after = None
    await finish(world, two)


async def test_an_agent_that_dies_in_every_trial_goes_back(
    world: World, one: Published, two: Published
) -> None:
    await prepare(world, one)
    world.publish(two)
    world.trier.outcomes = [CrashError(), CrashError(), CrashError()]
    await run_until_crash(world, two)
    for _ in range(2):
        await world.restart()
        assert await serving(world) == "smol@1"
        with pytest.raises(CrashError):
            await world.settled()
    await world.restart()
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "crash_loop"
    assert world.trier.tried.count("smol@2") == 3
    assert await serving(world) == "smol@1"
    # It stays so.
    await world.restart()
    await world.follow(3, {CHANNEL: two})
    assert (await world.settled()).state == "rolled_back"


async def test_an_agent_that_dies_in_every_check_of_the_file_gives_up(
    world: World, one: Published, two: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(world, one)
    world.publish(two)

    def crash(path: Path, base: Path | None) -> None:
        raise CrashError

    monkeypatch.setattr("skerry_agent.updates.obtaining.check_model_file", crash)
    await run_until_crash(world, two)
    for _ in range(world.limits.max_starts):
        await world.restart()
        with pytest.raises(CrashError):
            await world.settled()
    await world.restart()
    report = await world.until("refused")
    assert report.reason is not None
    assert report.reason.code == "crash_loop"


async def test_killed_between_the_switch_and_its_record_the_new_version_stays(
    world: World, one: Published, two: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(world, one)
    world.publish(two)

    async def crash(model: ModelFile) -> None:
        raise CrashError

    monkeypatch.setattr(world.trier, "promote", crash)
    await run_until_crash(world, two)
    assert world.engine.reports()[CHANNEL].state == "trial"
    monkeypatch.undo()
    await world.restart()
    await world.until("committed")
    assert await serving(world) == "smol@2"
    assert world.trier.tried.count("smol@2") == 1
    slot = world.registry.slots_now[CHANNEL]
    assert slot.previous is not None
    assert slot.previous.ref == "smol@1"


@pytest.mark.parametrize(
    ("store", "after", "expected"),
    [(1, False, "smol@2"), (1, True, "smol@1"), (2, False, "smol@1"), (2, True, "smol@1")],
)
async def test_a_person_goes_back_and_the_agent_is_killed_meanwhile(
    world: World, one: Published, two: Published, store: int, after: bool, expected: str
) -> None:
    await prepare(world, one)
    world.publish(two)
    await world.follow(2, {CHANNEL: two})
    await world.until_true(lambda r: r.state == "committed" and r.target_path == two.target.path)
    at = world._stores + store
    world.crash_at_store = -at if after else at
    with pytest.raises(CrashError):
        await world.engine.rollback(CHANNEL)
    # Before anything was stored, nothing happened; afterwards it is carried through.
    for _ in range(2):
        await world.restart()
        await world.until("committed" if expected == "smol@2" else "rolled_back")
        assert await serving(world) == expected
    codes = [event["code"] for event in world.events.of("update_rolled_back")]
    assert set(codes) == (set() if expected == "smol@2" else {"rolled_back_by_hand"})


async def test_a_person_goes_back_and_the_disk_is_full_right_behind_the_switch(
    world: World, one: Published, two: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(world, one)
    world.publish(two)
    await world.follow(2, {CHANNEL: two})
    await world.until_true(lambda r: r.state == "committed" and r.target_path == two.target.path)
    store = world.engine._store
    put_record, refused = store.put_record, 0

    async def full(record: SlotRecord, **more: Any) -> None:
        nonlocal refused
        if not record.going_back and refused < 2:
            refused += 1
            raise DatabaseFullError("no room")
        await put_record(record, **more)

    monkeypatch.setattr(store, "put_record", full)
    with pytest.raises(DatabaseFullError):
        await world.engine.rollback(CHANNEL)
    await world.until_true(lambda _: bool(world.events.of("update_rolled_back")))
    assert [event["code"] for event in world.events.of("update_rolled_back")] == ["rolled_back_by_hand"]
    assert await serving(world) == "smol@1"


async def test_a_desired_state_is_followed_after_a_restart_without_a_controller(
    world: World, one: Published, two: Published
) -> None:
    await prepare(world, one)
    world.publish(two)
    world.trier.hold = asyncio.Event()
    world.trier.running.clear()
    await world.follow(2, {CHANNEL: two})
    await asyncio.wait_for(world.trier.running.wait(), 20)
    await world.crash()
    world.targets.held.clear()
    world.sources[0].down = True
    world.trier.hold = None
    await world.start()
    accepted = world.engine.accepted
    assert accepted is not None
    assert accepted.generation.number == 2
    await world.until("committed")
    assert await serving(world) == "smol@2"


async def test_killed_before_the_end_was_told_it_is_told_at_the_next_start(
    world: World, one: Published, two: Published
) -> None:
    await prepare(world, one)
    world.publish(two)
    world.crash_at_store = -(world._stores + STORES - 1)
    await run_until_crash(world, two)
    assert world.states[-1] == "committed"
    told = [event for event in world.events.of("update_committed") if event["target"] == two.target.path]
    assert told == []
    await world.restart()
    for _ in range(2):
        told = [event for event in world.events.of("update_committed") if event["target"] == two.target.path]
        assert len(told) == 1
        await world.restart()


@pytest.mark.parametrize(
    ("error", "code"), [(DatabaseFullError("no room"), "no_space"), (DatabaseError("I/O error"), "failed")]
)
async def test_an_update_whose_state_cannot_be_stored_says_why(
    world: World, one: Published, two: Published, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    await prepare(world, one)
    world.publish(two)
    paused = asyncio.Event()

    async def refuse(*_: object, **__: object) -> None:
        raise error

    async def wait(event: asyncio.Event, timeout_s: float | None) -> None:
        if timeout_s is not None:
            paused.set()
        await event.wait()

    monkeypatch.setattr(world.engine._store, "put_record", refuse)
    monkeypatch.setattr(world.clock, "wait", wait)
    await world.follow(2, {CHANNEL: two})
    await asyncio.wait_for(paused.wait(), 20)
    report = world.engine.reports()[CHANNEL]
    assert report.reason is not None
    assert report.reason.code == code
    assert await serving(world) == "smol@1"
    monkeypatch.undo()
    world.engine.nudge()
    await world.until_true(lambda r: r.state == "committed" and r.target_path == two.target.path)

import asyncio
from dataclasses import replace

import pytest

from skerry_agent.errors import WorldError
from skerry_agent.registry import RegistryLimits, SlotError
from skerry_agent.trust.errors import TargetNotYetVisibleError, TargetRefusedError
from skerry_agent.updates import UpdateLimits
from skerry_agent.updates.table import State
from skerry_protocol.acceptance import Acceptance
from support.registry import LIMITS
from support.updates import CHANNEL, MemorySource, Published, World, desire, failed, publish

STRAIGHT: list[State] = [
    "resolving",
    "checking",
    "downloading",
    "verifying",
    "staged",
    "trial",
    "switching",
    "committed",
]


async def committed(world: World, number: int, published: Published) -> None:
    world.publish(published)
    await world.follow(number, {CHANNEL: published})
    await world.until_true(lambda r: r.state == "committed" and r.target_sha256 == published.target.sha256)


async def active_ref(world: World) -> str:
    return (await world.registry.find(CHANNEL)).ref


async def test_a_desired_version_is_fetched_tried_and_committed(world: World, one: Published) -> None:
    await world.start()
    assert world.engine.accepted is None
    await committed(world, 1, one)
    assert world.states == STRAIGHT
    report = world.engine.reports()[CHANNEL]
    assert report.active is not None
    assert (report.active.ref, report.active.target_sha256) == ("smol@1", one.target.sha256)
    assert report.active.signed
    assert report.bytes_done == report.bytes_total == len(one.data)
    # What the file has twice came once.
    assert report.bytes_fetched == sum({c.sha256: c.length for c in one.entry.chunks}.values())
    assert report.bytes_metadata == one.target.length
    assert report.figures == {"tokens_per_s": 9.0}
    assert world.trier.tried == world.trier.promoted == ["smol@1"]
    assert world.trier.discarded == []
    assert world.events.of("update_committed")[0]["slot"] == CHANNEL
    assert world.engine.accepted == desire(1, {})[1]


async def test_a_second_version_fetches_only_what_is_not_here(
    world: World, one: Published, two: Published
) -> None:
    await world.start()
    await committed(world, 1, one)
    await committed(world, 2, two)
    shared = {c.sha256 for c in one.entry.chunks} & {c.sha256 for c in two.entry.chunks}
    assert shared
    report = world.engine.reports()[CHANNEL]
    fetched = sum(c.length for c in two.entry.chunks if c.sha256 not in shared)
    assert report.bytes_fetched == fetched < report.bytes_total
    slot = world.registry.slots_now[CHANNEL]
    assert slot.previous is not None
    assert slot.previous.ref == "smol@1"


async def test_what_serves_already_is_committed_at_once(world: World, one: Published) -> None:
    await world.start()
    await committed(world, 1, one)
    world.states.clear()
    asked = world.targets.asked
    await world.follow(2, {CHANNEL: one}, attempt=2)
    await world.until_true(lambda r: r.attempt == 2)
    assert world.engine.reports()[CHANNEL].state == "committed"
    assert world.states == ["committed"]
    assert world.targets.asked == asked


async def test_older_desired_states_are_the_callers_bug(world: World, one: Published) -> None:
    await world.start()
    await committed(world, 5, one)
    with pytest.raises(ValueError, match="older"):
        await world.follow(4, {CHANNEL: one})
    state, mark = desire(5, {})
    with pytest.raises(ValueError, match="conflict"):
        await world.engine.follow(state, type(mark)(generation=mark.generation, sha256="0" * 64))


async def test_a_target_that_is_not_visible_yet_is_waited_for_with_growing_pauses(
    world: World, one: Published
) -> None:
    world.targets.fail = [TargetNotYetVisibleError("not yet")] * 4
    await world.start()
    await committed(world, 1, one)
    assert world.clock.pauses == [2.0, 4.0, 8.0, 16.0]
    assert world.states == STRAIGHT


async def test_a_target_that_was_not_signed_is_refused(world: World, one: Published) -> None:
    world.targets.fail = [TargetRefusedError("target_unknown", "nobody signed it")]
    await world.start()
    world.publish(one)
    await world.follow(1, {CHANNEL: one})
    report = await world.settled()
    assert (report.state, report.reason and report.reason.code) == ("refused", "target_unknown")
    assert world.events.of("target_refused")[0]["code"] == "target_unknown"
    # The same generation is not tried again; a newer one is.
    await world.follow(2, {CHANNEL: one})
    await world.until("committed")


async def test_a_manifest_of_another_name_is_refused(world: World, one: Published, two: Published) -> None:
    world.publish(one)
    liar = replace(two, manifest=one.manifest, manifest_bytes=two.manifest_bytes)
    world.targets.held[liar.target.path] = two.manifest_bytes
    await world.start()
    await world.follow(1, {CHANNEL: liar})
    report = await world.settled()
    assert report.reason is not None
    assert report.reason.code == "manifest_mismatch"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"selector": "site=elsewhere"}, "no_variant"),
        ({"base": "a" * 64}, "unsupported_kind"),
        ({"memory_bytes": 1 << 40}, "no_memory"),
        ({"architecture": "mamba9"}, "architecture_unsupported"),
        ({"acceptance": Acceptance(cpu_features=("avx2", "amx_tile"))}, "cpu_unsupported"),
        ({"license": "CC-BY-NC-4.0"}, "license_refused"),
    ],
)
async def test_what_cannot_run_here_is_refused_before_its_first_byte(
    world: World, models: list[bytes], changes: dict[str, str], code: str
) -> None:
    published = world.publish(publish(models[0], **changes))  # type: ignore[arg-type]
    world.limits = UpdateLimits(refused_licenses=("CC-BY-NC-*",))
    await world.start()
    await world.follow(1, {CHANNEL: published})
    report = await world.settled()
    assert report.reason is not None
    assert report.reason.code == code
    assert world.sources[0].calls == 0
    assert world.events.codes(["update_refused", "target_refused"]) == [code]


async def test_a_refusal_for_memory_ends_when_there_is_memory(world: World, models: list[bytes]) -> None:
    published = world.publish(publish(models[0], memory_bytes=2 << 30))
    await world.start()
    await world.follow(1, {CHANNEL: published})
    report = await world.settled()
    assert report.reason is not None
    assert "1024 MiB are missing" in report.reason.message
    world.device.memory = 3 << 30
    await world.until("committed")
    assert len(world.events.of("update_refused")) == 1


async def test_a_refusal_for_room_says_how_much_and_ends_when_there_is_room(
    world: World, one: Published, two: Published
) -> None:
    world.registry_limits = RegistryLimits(
        min_free_bytes=0, disk_budget_bytes=len(one.data) + len(two.data) - 5000
    )
    await world.start()
    await committed(world, 1, one)
    world.publish(two)
    await world.follow(2, {CHANNEL: two})
    report = await world.until("refused")
    assert report.reason is not None
    assert report.reason.code == "no_space"
    assert "are missing" in report.reason.message
    assert await active_ref(world) == "smol@1"
    await world.crash()
    world.registry_limits = LIMITS
    await world.start()
    await world.until("committed")
    assert await active_ref(world) == "smol@2"


async def test_sources_fail_over_in_the_middle_of_a_download(world: World, one: Published) -> None:
    first, second = MemorySource("first"), MemorySource("second")
    world.sources = [first, second]
    first.stop_after = 2
    await world.start()
    await committed(world, 1, one)
    assert sum(first.served.values()) == 2
    assert set(first.served.values()) | set(second.served.values()) == {1}


async def test_while_no_source_answers_it_goes_on_trying_for_ever(world: World, one: Published) -> None:
    world.sources[0].down = True
    world.publish(one)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    await world.until_true(lambda r: r.reason is not None and r.reason.code == "sources_failed")
    source = world.sources[0]
    await world.until_true(lambda _: source.calls >= 40)
    assert max(world.clock.pauses) == world.limits.retry_max_s
    source.down = False
    report = await world.until("committed")
    assert report.reason is None


async def test_altered_bytes_are_refused_with_the_reason_and_the_old_model_stays(
    world: World, one: Published, two: Published
) -> None:
    world.sources = [MemorySource("http"), MemorySource("mqtt")]
    await world.start()
    await committed(world, 1, one)
    for source in world.sources:
        source.wrong = {two.entry.chunks[-1].offset}
    world.publish(two)
    await world.follow(2, {CHANNEL: two})
    report = await world.until("refused")
    assert report.reason is not None
    assert report.reason.code == "chunk_mismatch"
    assert "http: wrong bytes" in report.reason.message
    assert {data["source"] for data in world.events.of("chunk_rejected")} == {"http", "mqtt"}
    assert world.events.of("download_refused")[0]["code"] == "chunk_mismatch"
    assert await active_ref(world) == "smol@1"
    assert world.trier.tried == ["smol@1"]
    # Repaired, and tried again by the operator: only the wrong chunk is fetched anew.
    for source in world.sources:
        source.wrong.clear()
        source.served.clear()
    await world.follow(3, {CHANNEL: two}, attempt=2)
    await world.until("committed")
    assert [sum(s.served.values()) for s in world.sources] == [1, 0]


async def test_altered_bytes_are_refused_also_when_another_source_is_closed(
    world: World, one: Published
) -> None:
    closed, wrong = MemorySource("http"), MemorySource("mqtt")
    closed.down, wrong.wrong = True, {-1}
    world.sources = [closed, wrong]
    world.publish(one)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    report = await world.settled()
    assert report.reason is not None
    assert (report.state, report.reason.code) == ("refused", "chunk_mismatch")


async def test_a_source_with_wrong_bytes_is_asked_last(world: World, one: Published, two: Published) -> None:
    bad, good = MemorySource("bad"), MemorySource("good")
    bad.wrong = {-1}
    world.sources = [bad, good]
    await world.start()
    await committed(world, 1, one)
    assert world.events.names().count("chunk_rejected") == 1
    await committed(world, 2, two)
    assert bad.calls == 1
    assert good.calls == 2


async def test_a_model_that_fails_its_trial_is_rolled_back_and_not_tried_again(
    world: World, one: Published, two: Published
) -> None:
    await world.start()
    await committed(world, 1, one)
    world.trier.outcomes = [failed()]
    world.publish(two)
    await world.follow(2, {CHANNEL: two})
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "too_slow"
    assert report.figures == {"tokens_per_s": 3.0}
    assert report.active is not None
    assert report.active.ref == "smol@1"
    assert world.trier.discarded == ["smol@2"]
    assert world.events.of("update_rolled_back")[0]["code"] == "too_slow"
    # Not with a new generation, not after a restart, not after another version in between.
    await world.follow(3, {CHANNEL: two})
    await world.restart()
    await world.follow(4, {CHANNEL: one})
    await world.until("committed")
    await world.follow(5, {CHANNEL: two})
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "too_slow"
    assert world.trier.tried == ["smol@1", "smol@2"]
    # Until the operator says so.
    await world.follow(6, {CHANNEL: two}, attempt=2)
    await world.until("committed")
    assert await active_ref(world) == "smol@2"


async def test_a_trial_that_breaks_or_takes_too_long_is_a_failed_one(
    world: World, models: list[bytes], one: Published
) -> None:
    world.limits = UpdateLimits(trial_grace_s=0.01)
    await world.start()
    world.trier.outcomes = [WorldError("the runner crashed")]
    world.publish(one)
    await world.follow(1, {CHANNEL: one})
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "trial_failed"
    world.trier.hold = asyncio.Event()
    slow = world.publish(publish(models[1], "smol@2", acceptance=Acceptance(deadline_s=0.01)))
    await world.follow(2, {CHANNEL: slow})
    report = await world.until_true(lambda r: r.reason is not None and r.reason.code == "trial_timeout")
    assert world.trier.discarded == ["smol@1", "smol@2"]


async def test_a_file_that_would_crash_the_engine_is_refused(world: World) -> None:
    published = world.publish(publish(b"not a model at all" * 1000, "smol@1"))
    await world.start()
    await world.follow(1, {CHANNEL: published})
    report = await world.settled()
    assert report.reason is not None
    assert report.reason.code == "bad_model"


async def test_a_newer_desired_state_supersedes_a_download_and_its_partial_stays(
    world: World, one: Published, two: Published
) -> None:
    hold = world.sources[0].hold = asyncio.Event()
    world.publish(one)
    world.publish(two)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    hold.set()
    await world.until_true(lambda r: r.bytes_done > 0)
    hold.clear()
    await world.follow(2, {CHANNEL: two})
    await world.until_true(lambda r: r.target_sha256 == two.target.sha256)
    hold.set()
    await world.until("committed")
    assert await active_ref(world) == "smol@2"
    await world.follow(3, {CHANNEL: one})
    await world.until_true(lambda r: r.state == "committed" and r.target_sha256 == one.target.sha256)
    assert max(world.sources[0].served.values()) <= 2  # at most the one chunk that was cut off


async def test_a_newer_desired_state_supersedes_a_trial(world: World, one: Published, two: Published) -> None:
    world.trier.hold = asyncio.Event()
    world.publish(one)
    world.publish(two)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    await asyncio.wait_for(world.trier.running.wait(), 20)
    await world.follow(2, {CHANNEL: two})
    await world.until_true(lambda r: r.target_sha256 == two.target.sha256)
    world.trier.hold.set()
    await world.until("committed")
    assert world.trier.discarded == ["smol@1"]
    assert world.trier.promoted == ["smol@2"]


async def test_a_slot_that_is_no_longer_desired_is_left_alone(world: World, one: Published) -> None:
    world.sources[0].down = True
    world.publish(one)
    await world.start()
    await world.follow(1, {CHANNEL: one})
    await world.until_true(lambda r: r.reason is not None)
    await world.follow(2, {})
    await world.until("idle")


async def test_a_slot_that_waits_does_not_hold_up_another(
    world: World, one: Published, two: Published
) -> None:
    world.publish(two)  # smol@1 is not visible
    await world.start()
    await world.follow(1, {"a/stable": one, "b/stable": two})
    await world.until("committed", slot="b/stable")
    assert world.engine.reports()["a/stable"].state == "resolving"


async def test_a_person_goes_back_and_it_is_held_until_a_new_attempt(
    world: World, one: Published, two: Published
) -> None:
    await world.start()
    await committed(world, 1, one)
    await committed(world, 2, two)
    slot = await world.engine.rollback(CHANNEL)
    assert slot.active is not None
    assert (slot.active.ref, slot.held) == ("smol@1", "operator")
    report = await world.until("rolled_back")
    assert report.reason is not None
    assert report.reason.code == "rolled_back_by_hand"
    await world.follow(3, {CHANNEL: two})
    await world.restart()
    report = await world.until("rolled_back")
    assert await active_ref(world) == "smol@1"
    with pytest.raises(SlotError):
        await world.engine.rollback(CHANNEL)
    await world.follow(4, {CHANNEL: two}, attempt=2)
    await world.until("committed")
    assert await active_ref(world) == "smol@2"
    assert world.registry.slots_now[CHANNEL].held is None


async def test_a_person_goes_back_in_the_middle_of_a_download(
    world: World, models: list[bytes], one: Published, two: Published
) -> None:
    await world.start()
    await committed(world, 1, one)
    await committed(world, 2, two)
    three = world.publish(publish(models[2], "smol@3"))
    world.sources[0].down = True
    await world.follow(3, {CHANNEL: three})
    await world.until("downloading")
    await world.engine.rollback(CHANNEL, held_by="anna")
    report = await world.until("rolled_back")
    assert report.target_sha256 == three.target.sha256
    assert await active_ref(world) == "smol@1"


async def test_a_staged_version_waits_for_its_window(world: World, one: Published) -> None:
    waits = [3600.0, 1800.0]
    world.activation_delay_s = lambda: waits.pop(0) if waits else 0.0
    await world.start()
    await committed(world, 1, one)
    assert world.clock.pauses == [3600.0, 1800.0]


async def test_a_file_that_was_lost_is_fetched_again(world: World, one: Published, two: Published) -> None:
    await world.start()
    await committed(world, 1, one)
    artifact = await world.registry.find(CHANNEL)
    await world.crash()
    artifact.path.unlink()
    world.states.clear()
    await world.start()
    await world.until_true(lambda _: "committed" in world.states)
    assert world.states == STRAIGHT
    assert artifact.path.read_bytes() == one.data
    assert await active_ref(world) == "smol@1"


async def test_local_slots_are_reported_too(world: World, one: Published) -> None:
    source = world.folder / "mine.gguf"
    source.write_bytes(one.data)
    await world.start()
    await world.registry.import_file(source, "mine@1")
    await world.registry.activate_local("mine@1")
    report = world.engine.reports()["local/mine"]
    assert report.state == "idle"
    assert report.active is not None
    assert not report.active.signed

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skerry_agent.database import Database, DatabaseFullError
from skerry_agent.outbox import Outbox, OutboxLimits, PendingBatch, store
from skerry_protocol import ranges

MANY = 1_000_000


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def now(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def outbox(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Outbox]:
    outbox = await Outbox.open(tmp_path / "outbox.db", clock=clock)
    yield outbox
    await outbox.close()


def tables(path: Path) -> list[tuple[Any, ...]]:
    """What another process sees as committed."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT kind, name, sequence FROM records ORDER BY 1, 3").fetchall()
    finally:
        connection.close()


async def everything(outbox: Outbox) -> list[PendingBatch]:
    return await outbox.pending_batches(MANY, MANY, max_batches=1000)


async def test_an_event_is_committed_when_emit_returns(outbox: Outbox, tmp_path: Path) -> None:
    await outbox.emit("update_committed", slot="assistant/stable")
    assert tables(tmp_path / "outbox.db") == [("event", "update_committed", 0)]


async def test_samples_wait_in_memory_until_the_flush(outbox: Outbox, tmp_path: Path) -> None:
    outbox.add_sample({"cpu_percent": 1.0})
    assert tables(tmp_path / "outbox.db") == []
    assert (await outbox.stats()).buffered == 1
    await outbox.flush()
    assert tables(tmp_path / "outbox.db") == [("sample", "sample", 0)]


async def test_the_flush_task_commits_samples_by_itself(tmp_path: Path, clock: FakeClock) -> None:
    outbox = await Outbox.open(tmp_path / "outbox.db", OutboxLimits(flush_interval_s=0.01), clock=clock)
    committed = asyncio.Event()
    outbox.watch(committed.set)
    flusher = asyncio.create_task(outbox.run())
    outbox.add_sample({"cpu_percent": 1.0})
    await asyncio.wait_for(committed.wait(), 5)
    assert len(tables(tmp_path / "outbox.db")) == 1
    flusher.cancel()
    with suppress(asyncio.CancelledError):
        await flusher
    await outbox.close()


async def test_values_that_are_not_finite_are_left_out(outbox: Outbox) -> None:
    outbox.add_sample({"cpu_percent": float("nan"), "load_1m": 0.5})
    await outbox.flush()
    [batch] = await everything(outbox)
    assert batch.records[0].data == {"load_1m": 0.5}


async def test_numbers_rise_without_a_gap_and_events_have_a_stream_of_their_own(outbox: Outbox) -> None:
    for number in range(3):
        outbox.add_sample({"n": number})
        await outbox.emit("ping", audit=number == 1)
    events, samples = await everything(outbox)
    assert (events.leaf, samples.leaf) == ("events", "telemetry")
    assert events.stream != samples.stream
    assert [r.sequence for r in events.records] == [r.sequence for r in samples.records] == [0, 1, 2]
    assert [r.kind for r in events.records] == ["event", "audit", "event"]
    assert events.records[0].at_ms == 1_800_000_000_000


async def test_a_boot_starts_new_streams_and_keeps_the_old_records(tmp_path: Path, clock: FakeClock) -> None:
    streams = []
    for _ in range(2):
        outbox = await Outbox.open(tmp_path / "outbox.db", clock=clock)
        await outbox.emit("started")
        batches = await everything(outbox)
        streams = [batch.stream for batch in batches]
        await outbox.close()
    assert len(set(streams)) == 2
    assert all(len(stream) == 32 for stream in streams)


async def test_what_is_acknowledged_is_forgotten_and_the_rest_stays(outbox: Outbox) -> None:
    for _ in range(6):
        await outbox.emit("ping")
    [batch] = await everything(outbox)
    assert await outbox.acknowledge({batch.stream: [(0, 1), (4, 4)], "unknown": [(0, 9)]}) == 3
    [left] = await everything(outbox)
    assert [r.sequence for r in left.records] == [2, 3, 5]
    assert await outbox.acknowledge({batch.stream: [(0, 10**30)]}) == 3
    assert await everything(outbox) == []


async def test_a_number_is_never_used_again_after_everything_was_acknowledged(outbox: Outbox) -> None:
    await outbox.emit("ping")
    [batch] = await everything(outbox)
    await outbox.acknowledge({batch.stream: [(0, 0)]})
    await outbox.emit("ping")
    [batch] = await everything(outbox)
    assert [r.sequence for r in batch.records] == [1]


async def test_batches_keep_to_bytes_and_records_and_leave_out_what_is_in_flight(outbox: Outbox) -> None:
    for _ in range(10):
        await outbox.emit("ping", text="x" * 100)
    [first, second] = await outbox.pending_batches(MANY, 4, max_batches=2)
    assert [[r.sequence for r in b.records] for b in (first, second)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    [rest] = await outbox.pending_batches(MANY, 4, max_batches=5, in_flight={first.stream: [(0, 7)]})
    assert [r.sequence for r in rest.records] == [8, 9]
    [middle] = await outbox.pending_batches(MANY, in_flight={first.stream: [(0, 2), (5, 8)]})
    assert [r.sequence for r in middle.records] == [3, 4, 9]
    [small] = await outbox.pending_batches(300)
    assert len(small.records) == 2
    [alone] = await outbox.pending_batches(1)
    assert len(alone.records) == 1


def limits_for(rows: int) -> OutboxLimits:
    return OutboxLimits(max_rows=rows, max_buffered=10_000)


async def test_a_full_outbox_thins_old_samples_first(tmp_path: Path, clock: FakeClock) -> None:
    outbox = await Outbox.open(tmp_path / "outbox.db", limits_for(100), clock=clock)
    await outbox.emit("kept")
    for number in range(100):
        outbox.add_sample({"n": number})
    await outbox.flush()
    _, samples = await everything(outbox)
    kept = [r.sequence for r in samples.records]
    assert kept == [*range(0, 50, 2), *range(50, 100)]
    assert list(ranges.numbers(samples.gone)) == list(range(1, 50, 2))
    stats = await outbox.stats()
    assert stats.dropped == {"sample": 25, "event": 0, "audit": 0}
    assert stats.pending == {"sample": 75, "event": 1, "audit": 0}
    assert stats.gone == 25
    await outbox.close()


async def test_events_go_before_audit_records_and_every_loss_is_counted(
    tmp_path: Path, clock: FakeClock
) -> None:
    outbox = await Outbox.open(tmp_path / "outbox.db", limits_for(20), clock=clock)
    for number in range(15):
        outbox.add_sample({"n": number})
        await outbox.emit("ping", number=number)
        await outbox.emit("model_activated", audit=True, number=number)
    stats = await outbox.stats()
    assert stats.pending["audit"] == 15
    assert stats.pending["sample"] == 0
    assert stats.pending["event"] + stats.dropped["event"] == 15
    for number in range(10):
        await outbox.emit("model_activated", audit=True, number=number)
    stats = await outbox.stats()
    assert stats.dropped["event"] == 15
    assert stats.pending["audit"] + stats.dropped["audit"] == 25
    assert stats.dropped["audit"] > 0
    await outbox.close()


async def test_gone_ranges_are_told_until_acknowledged(tmp_path: Path, clock: FakeClock) -> None:
    outbox = await Outbox.open(tmp_path / "outbox.db", limits_for(4), clock=clock)
    for _ in range(10):
        await outbox.emit("ping")
    [batch] = await everything(outbox)
    assert batch.gone == ((0, 5),)
    assert batch.covers == [(0, 9)]
    await outbox.acknowledge({batch.stream: [(2, 9)]})
    [batch] = await everything(outbox)
    assert (batch.records, batch.gone) == ((), ((0, 1),))
    await outbox.acknowledge({batch.stream: [(0, 1)]})
    assert await everything(outbox) == []
    assert (await outbox.stats()).gone == 0
    await outbox.close()


async def test_every_number_is_pending_gone_or_acknowledged_whatever_happens(
    tmp_path: Path, clock: FakeClock
) -> None:
    outbox = await Outbox.open(tmp_path / "outbox.db", limits_for(64), clock=clock)
    acknowledged: dict[str, list[tuple[int, int]]] = {}
    for turn in range(300):
        outbox.add_sample({"n": turn})
        if turn % 7 == 0:
            await outbox.emit("ping")
        if turn % 40 == 39:
            batch = (await outbox.pending_batches(MANY, 5))[0]
            acknowledged[batch.stream] = ranges.union(acknowledged.get(batch.stream, []), batch.covers)
            await outbox.acknowledge({batch.stream: batch.covers})
    await outbox.flush()
    seen: dict[str, list[tuple[int, int]]] = dict(acknowledged)
    for batch in await everything(outbox):
        seen[batch.stream] = ranges.union(seen.get(batch.stream, []), batch.covers)
    assert sorted(found for found in seen.values()) == [[(0, 42)], [(0, 299)]]
    await outbox.close()


async def test_recent_events_stay_readable_after_the_acknowledgement(outbox: Outbox) -> None:
    await outbox.emit("first", code="a")
    await outbox.emit("second", audit=True)
    outbox.add_sample({"n": 1})
    for batch in await everything(outbox):
        await outbox.acknowledge({batch.stream: batch.covers})
    assert [(e.kind, e.name, e.data) for e in await outbox.recent_events()] == [
        ("event", "first", {"code": "a"}),
        ("audit", "second", {}),
    ]
    assert [e.name for e in await outbox.recent_events(1)] == ["second"]


async def test_the_local_log_keeps_the_last_ones(tmp_path: Path, clock: FakeClock) -> None:
    outbox = await Outbox.open(tmp_path / "outbox.db", OutboxLimits(keep_events=3), clock=clock)
    for number in range(9):
        await outbox.emit("ping", number=number)
    assert [e.data["number"] for e in await outbox.recent_events()] == [6, 7, 8]
    await outbox.close()


async def test_overlong_texts_and_too_many_fields_are_cut(outbox: Outbox) -> None:
    fields: dict[str, Any] = {f"f{n:02}": n for n in range(99)}
    await outbox.emit("big", text="x" * 5000, **fields)
    [event] = await outbox.recent_events()
    assert len(str(event.data["text"])) == 1000
    assert len(event.data) == 32


async def test_simultaneous_events_are_each_stored_once(outbox: Outbox) -> None:
    await asyncio.gather(*(outbox.emit("ping", number=number) for number in range(50)))
    [batch] = await everything(outbox)
    assert sorted(int(str(r.data["number"])) for r in batch.records) == list(range(50))
    assert batch.covers == [(0, 49)]


async def test_a_cancelled_caller_loses_nothing(outbox: Outbox) -> None:
    emitting = asyncio.create_task(outbox.emit("ping"))
    await asyncio.sleep(0)
    emitting.cancel()
    with suppress(asyncio.CancelledError):
        await emitting
    await outbox.flush()
    [batch] = await everything(outbox)
    assert len(batch.records) == 1


async def test_a_full_disk_delays_records_and_counts_what_it_costs(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = replace(OutboxLimits(), max_buffered=4)
    outbox = await Outbox.open(tmp_path / "outbox.db", limits, clock=clock)

    async def refuse(_self: Database, _work: Callable[[sqlite3.Connection], object]) -> None:
        raise DatabaseFullError("no room on the disk")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", refuse)
        for number in range(3):
            outbox.add_sample({"n": number})
        for number in range(3):
            await outbox.emit("ping", number=number)
        assert not await outbox.flush()
        stats = await outbox.stats()
        assert (stats.buffered, stats.dropped["sample"]) == (4, 2)
    assert await outbox.flush()
    stats = await outbox.stats()
    assert stats.pending == {"sample": 1, "event": 3, "audit": 0}
    assert stats.dropped == {"sample": 2, "event": 0, "audit": 0}
    await outbox.close()


async def test_a_key_is_new_once_until_it_expires(outbox: Outbox, clock: FakeClock) -> None:
    expires_at = int(clock.now()) + 60
    assert await outbox.remember_once("command-1", expires_at)
    assert not await outbox.remember_once("command-1", expires_at)
    clock.seconds += 61
    assert await outbox.remember_once("command-1", expires_at + 600)


async def test_a_batch_that_came_out_too_large_is_halved_down_to_one_record(outbox: Outbox) -> None:
    for _ in range(5):
        await outbox.emit("ping")
    [batch] = await everything(outbox)
    sizes = []
    while len(batch.records) > 1:
        batch = batch.halved()
        sizes.append(len(batch.records))
    assert sizes == [2, 1]
    assert batch.halved() == batch


async def test_a_record_that_can_never_be_sent_becomes_a_counted_gap(outbox: Outbox) -> None:
    for _ in range(3):
        await outbox.emit("ping")
    [batch] = await everything(outbox)
    await outbox.give_up(batch.stream, 1)
    await outbox.give_up(batch.stream, 99)
    [batch] = await everything(outbox)
    assert [r.sequence for r in batch.records] == [0, 2]
    assert batch.gone == ((1, 1),)
    assert (await outbox.stats()).dropped["event"] == 1


async def test_what_cannot_be_encoded_costs_itself_and_nothing_else(outbox: Outbox) -> None:
    outbox.add_sample({"cpu_percent": 1.0})
    await outbox.emit("model_broken", message="a file \udce4 of another encoding", bytes=2**80, less=-(2**80))
    await outbox.emit("update_committed", slot="assistant/stable")
    records = [record for batch in await everything(outbox) for record in batch.records]
    assert [record.name for record in records] == ["model_broken", "update_committed", "sample"]
    assert records[0].data == {
        "message": "a file ? of another encoding",
        "bytes": 2**63 - 1,
        "less": -(2**63 - 1),
    }


async def test_records_that_fail_for_an_unforeseen_reason_are_counted(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OverflowError("nobody foresaw this")

    with monkeypatch.context() as broken:
        broken.setattr(store, "append", fail)
        await outbox.emit("update_committed")
    await outbox.emit("update_refused")
    assert [event.name for event in await outbox.recent_events()] == ["update_refused"]
    assert (await outbox.stats()).dropped["event"] == 1


async def test_what_is_remembered_once_has_a_bound_and_keeps_what_ends_first(
    tmp_path: Path, clock: FakeClock
) -> None:
    outbox = await Outbox.open(tmp_path / "outbox.db", OutboxLimits(max_remembered=10), clock=clock)
    now = int(clock.now())
    assert await outbox.remember_once("command:genuine", now + 60)
    for number in range(50):
        await outbox.remember_once(f"command:junk-{number}", now + 10**9 + number)
    assert not await outbox.remember_once("command:genuine", now + 60)
    await outbox.close()
    connection = sqlite3.connect(tmp_path / "outbox.db")
    assert connection.execute("SELECT count(*) FROM once").fetchone() == (10,)
    connection.close()

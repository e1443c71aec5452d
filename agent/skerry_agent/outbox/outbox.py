"""The outbox: what it accepted survives a power cut and reaches the controller exactly once."""

import asyncio
import math
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import structlog

from skerry_agent.database import Database, DatabaseError
from skerry_agent.outbox import store
from skerry_agent.outbox.batch import InFlight, PendingBatch, StreamClass
from skerry_agent.outbox.limits import OutboxLimits
from skerry_agent.outbox.schema import MIGRATIONS
from skerry_protocol.ranges import Range
from skerry_protocol.records import RecordKind, Value

log = structlog.get_logger(__name__)

_CUT = "…"
_MAX_INTEGER = 2**63 - 1
"""What the disk and the wire hold."""


class Clock(Protocol):
    """Trusted time."""

    def now(self) -> float:
        """Unix seconds."""


class Outbox:
    """Takes samples, events and audit records, and hands them out until they are acknowledged.

    Events and audit records are committed before ``emit`` returns; samples wait in memory for at most
    ``flush_interval_s``, which :meth:`run` sees to. Open it with :meth:`open`.
    """

    def __init__(self, database: Database, limits: OutboxLimits, clock: Clock) -> None:
        self._watchers: list[Callable[[], None]] = []
        self._database = database
        self._limits = limits
        self._clock = clock
        self._streams: dict[StreamClass, str] = {
            "samples": secrets.token_hex(16),
            "events": secrets.token_hex(16),
        }
        self._buffer: list[store.Draft] = []
        self._lost: Counter[RecordKind] = Counter()
        self._commit_lock = asyncio.Lock()
        self._commits: set[asyncio.Task[bool]] = set()
        self._wanted = asyncio.Event()

    @classmethod
    async def open(cls, path: Path, limits: OutboxLimits | None = None, *, clock: Clock) -> Self:
        """Open or create the outbox; both streams of this boot get new random ids.

        Raises:
            DatabaseError: The file cannot be opened or is damaged.
        """
        return cls(await Database.open(path, MIGRATIONS), limits or OutboxLimits(), clock)

    async def close(self) -> None:
        """Commit what is buffered and close the file."""
        try:
            await self.flush()
        finally:
            if self._commits:
                await asyncio.wait(self._commits)
            await self._database.close()

    def watch(self, notify: Callable[[], None]) -> None:
        """Have ``notify`` called on the loop after every commit that brought records."""
        self._watchers.append(notify)

    async def run(self) -> None:
        """Commit buffered samples every ``flush_interval_s``, or earlier when many wait; never returns."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.flush_interval_s):
                    await self._wanted.wait()
            self._wanted.clear()
            await self.flush()

    async def emit(self, name: str, /, *, audit: bool = False, **data: Value) -> None:
        """Record an event (``skerry_agent.events.EventSink``); it is committed when this returns.

        While the disk refuses it, it waits in memory and goes with the next commit; nothing is raised, so
        that a full disk does not stop what the event is about.
        """
        kind: RecordKind = "audit" if audit else "event"
        self._take(store.Draft(self._now_ms(), kind, name, self._bounded(data)))
        log.info("event", name=name, kind=kind, **{f"event_{key}": value for key, value in data.items()})
        await self.flush()

    def add_sample(self, metrics: Mapping[str, float]) -> None:
        """Buffer one sample; values that are not finite are left out."""
        finite: dict[str, Value] = {
            name: float(value) for name, value in metrics.items() if math.isfinite(value)
        }
        self._take(store.Draft(self._now_ms(), "sample", "sample", finite))
        if len(self._buffer) >= self._limits.max_buffered // 2:
            self._wanted.set()

    async def flush(self) -> bool:
        """Commit everything that is buffered.

        Returns:
            False when the disk refused; the records stay in memory, within ``max_buffered``.
        """
        # A commit that began is finished even when its caller is cancelled: otherwise nobody would know
        # whether the records are stored, and they would be lost or stored twice.
        task = asyncio.create_task(self._commit(), name="outbox-commit")
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return await asyncio.shield(task)

    async def pending_batches(
        self,
        max_bytes: int,
        max_records: int = 500,
        *,
        max_batches: int = 1,
        in_flight: InFlight | None = None,
    ) -> list[PendingBatch]:
        """What is committed and not acknowledged, in batches.

        Args:
            max_bytes: Of one batch before compression; one record that is larger goes alone.
            max_records: Of one batch.
            max_batches: How many batches.
            in_flight: What was sent and may still be acknowledged: left out.

        Raises:
            DatabaseError: The disk failed.
        """
        return await self._database.read(
            partial(
                store.pending,
                max_bytes=max_bytes,
                max_records=max_records,
                max_batches=max_batches,
                in_flight=in_flight or {},
            )
        )

    async def acknowledge(self, streams: Mapping[str, Iterable[Range]]) -> int:
        """Forget what the controller has committed; returns how many records that were.

        Streams and numbers that the outbox does not have are ignored: acknowledging twice is fine.

        Raises:
            DatabaseError: The disk failed.
        """
        return await self._database.write(
            partial(store.acknowledge, streams=streams, current=tuple(self._streams.values()))
        )

    async def give_up(self, stream: str, sequence: int) -> None:
        """Drop a record that can never be sent, count it, and remember it as gone.

        Raises:
            DatabaseError: The disk failed.
        """
        await self._database.write(partial(store.give_up, stream_id=stream, sequence=sequence))

    async def stats(self) -> store.OutboxStats:
        """Counts of what is pending, dropped and buffered.

        Raises:
            DatabaseError: The disk failed.
        """
        stats = await self._database.read(store.stats)
        dropped = {kind: count + self._lost[kind] for kind, count in stats.dropped.items()}
        return stats._replace(buffered=len(self._buffer), dropped=dropped)

    async def recent_events(self, limit: int = 100) -> list[store.LoggedEvent]:
        """The last events and audit records, oldest first, whether acknowledged or not.

        Raises:
            DatabaseError: The disk failed.
        """
        return await self._database.read(partial(store.recent, limit=limit))

    async def remember_once(self, key: str, expires_at: int) -> bool:
        """Remember a key (a command's id) until ``expires_at``, Unix seconds; whether it was new.

        Raises:
            DatabaseError: The disk failed; the key is not remembered.
        """
        now = int(self._clock.now())
        return await self._database.write(
            partial(
                store.remember_once, key=key, expires_at=expires_at, now=now, most=self._limits.max_remembered
            )
        )

    async def _commit(self) -> bool:
        async with self._commit_lock:
            drafts, lost = self._buffer, self._lost
            if not drafts:
                return True
            self._buffer, self._lost = [], Counter()
            work = partial(
                store.append, drafts=drafts, streams=self._streams, limits=self._limits, lost=dict(lost)
            )
            try:
                await self._database.write(work)
            except DatabaseError as error:
                log.warning("outbox_commit_failed", error=str(error), records=len(drafts))
                self._buffer[:0] = drafts
                self._lost.update(lost)
                self._trim()
                return False
            except Exception:
                # Tried again, it would fail again, and keep all that comes after it from being stored.
                log.exception("outbox_records_unusable", records=len(drafts))
                self._lost.update(lost)
                self._lost.update(draft.kind for draft in drafts)
                return False
            for notify in self._watchers:
                notify()
            return True

    def _take(self, draft: store.Draft) -> None:
        self._buffer.append(draft)
        self._trim()

    def _trim(self) -> None:
        """Drop from memory what is over the bound, samples first, oldest first."""
        for kind in ("sample", "event", "audit"):
            over = len(self._buffer) - self._limits.max_buffered
            if over <= 0:
                return
            kept = []
            for draft in self._buffer:
                if over > 0 and draft.kind == kind:
                    over -= 1
                    self._lost[kind] += 1
                else:
                    kept.append(draft)
            self._buffer = kept

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    def _bounded(self, data: Mapping[str, Value]) -> dict[str, Value]:
        fields = list(data.items())[: self._limits.max_fields]
        return {key: self._bounded_value(value) for key, value in fields}

    def _bounded_value(self, value: Value) -> Value:
        if isinstance(value, str):
            # File names may hold what is no text; neither disk nor wire take it.
            text = value.encode("utf-8", "replace").decode("utf-8")
            most = self._limits.max_field_characters
            return text if len(text) <= most else text[: most - 1] + _CUT
        if isinstance(value, int) and not isinstance(value, bool):
            return max(-_MAX_INTEGER, min(value, _MAX_INTEGER))
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value

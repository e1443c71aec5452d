"""Drives every slot through the state machine: store the state, do its effect, store the next."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec
import structlog

from skerry_agent.database import DatabaseError
from skerry_agent.events import EventSink
from skerry_agent.registry import Registry, Slot
from skerry_agent.updates.download import Downloader
from skerry_agent.updates.labelled import LabelledDevice
from skerry_agent.updates.ledger import Ledger
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.network import Network
from skerry_agent.updates.pauses import Pauses
from skerry_agent.updates.ports import (
    ChunkSource,
    Clock,
    DeviceView,
    HealthView,
    SystemClock,
    TargetSource,
    Trier,
)
from skerry_agent.updates.rechecking import refusal_passed
from skerry_agent.updates.record import WRONG_BYTES, SlotRecord, fresh
from skerry_agent.updates.reports import Live, build_reports
from skerry_agent.updates.schedule import Starts
from skerry_agent.updates.sources.local import LocalSource
from skerry_agent.updates.step import Go, Pause, Step, Work
from skerry_agent.updates.steps import Steps
from skerry_agent.updates.store import UpdateStore
from skerry_protocol.desired import DesiredState
from skerry_protocol.generation import GenerationMark, compare
from skerry_protocol.reported import SlotReport

log = structlog.get_logger(__name__)

_TOLD_EVERY_S = 10.0


class UpdateEngine:
    """Makes the slots what the desired state says. Open it with :meth:`open`, then run it as a task."""

    def __init__(
        self,
        store: UpdateStore,
        registry: Registry,
        steps: Steps,
        *,
        events: EventSink,
        device: LabelledDevice,
        network: Network,
        starts: Starts,
        pauses: Pauses,
        clock: Clock,
        limits: UpdateLimits,
    ) -> None:
        self._store = store
        self._registry = registry
        self._steps = steps
        self._ledger = Ledger(store, registry, events=events, device=device, limits=limits)
        self._device = device
        self._clock = clock
        self._limits = limits
        self._traffic = network.traffic
        self._starts = starts
        self._pauses = pauses
        self._wake = asyncio.Event()
        # Held while a step runs: a person's rollback waits for it, or has it cut off.
        self._busy = asyncio.Lock()
        self._interrupts: set[str] = set()
        self._downloading: str | None = None
        self._begins_anew: str | None = None
        self._told = 0.0
        self._considered: GenerationMark | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    @classmethod
    async def open(
        cls,
        path: Path,
        registry: Registry,
        *,
        targets: TargetSource,
        network: Network,
        trier: Trier,
        events: EventSink,
        device: DeviceView,
        health: HealthView,
        clock: Clock | None = None,
        limits: UpdateLimits | None = None,
        uniform: Callable[[], float] = random.random,
        activation_delay_s: Callable[[], float] = lambda: 0.0,
        nearby: Sequence[ChunkSource] = (),
        starts: Starts | None = None,
        wall: Callable[[], float] = time.time,
    ) -> Self:
        """Open ``updates.db`` and bring what was under way into a state that can be gone on with.

        Args:
            path: updates.db.
            registry: Where models are.
            targets: Signed manifests.
            network: Whole chunks; files that are here come first by themselves.
            trier: Runs trials.
            events: Told what happened.
            device: Facts for variants and fit.
            health: How models fare with real requests.
            clock: For pauses.
            limits: Bounds.
            uniform: Random numbers in [0, 1) for pauses.
            activation_delay_s: How long until a staged version may be tried; 0 is now.
            nearby: Sources of chunks to ask before the network brings them whole.
            starts: When downloads begin; None is at once.
            wall: The time of day, Unix seconds, for people.

        Raises:
            DatabaseError: updates.db cannot be used.
        """
        limits, clock = limits or UpdateLimits(), clock or SystemClock()
        starts, labelled = starts or Starts(lambda: 0.0, "", clock.monotonic), LabelledDevice(device)
        steps = Steps(
            registry,
            targets=targets,
            downloader=Downloader([LocalSource(registry), *nearby], network),
            starts=starts,
            trier=trier,
            device=labelled,
            health=health,
            clock=clock,
            limits=limits,
            activation_delay_s=activation_delay_s,
        )
        store = await UpdateStore.open(path)
        engine = cls(
            store,
            registry,
            steps,
            events=events,
            device=labelled,
            network=network,
            starts=starts,
            pauses=Pauses(clock, wall, limits, uniform),
            clock=clock,
            limits=limits,
        )
        try:
            await engine._ledger.reconcile()
        except BaseException:
            await store.close()
            raise
        engine._unsubscribe = registry.subscribe(engine._registry_changed)
        return engine

    async def close(self) -> None:
        """Close updates.db; end :meth:`run` first."""
        self._unsubscribe()
        with suppress(DatabaseError):
            await self._ledger.stop()
        await self._store.close()

    # The door.

    @property
    def changed(self) -> asyncio.Event:
        """Set whenever :meth:`reports` may differ; whoever reports clears it."""
        return self._ledger.changed

    @property
    def accepted(self) -> GenerationMark | None:
        """The newest desired state that was accepted."""
        return self._ledger.mark

    @property
    def desired(self) -> DesiredState | None:
        """That state itself."""
        return self._ledger.desired

    @property
    def considered(self) -> GenerationMark | None:
        """The desired state that was held against every slot; from then on :meth:`reports` are about it."""
        return self._considered

    async def follow(self, desired: DesiredState, mark: GenerationMark) -> None:
        """Store a desired state, whose signature, device and expiry were checked, and go after it.

        It is durable when this returns. The same one again only wakes the engine.

        Raises:
            ValueError: It is older than the accepted one, or another of the same generation.
            DatabaseError: It could not be stored; nothing changed.
        """
        verdict = compare(self._ledger.mark, mark)
        if verdict not in ("newer", "same"):
            raise ValueError(f"generation {mark.generation} is {verdict}; the caller should have refused it")
        if verdict == "newer":
            await self._ledger.accept(desired, mark)
        self.nudge()

    def nudge(self) -> None:
        """Something changed for the better (a network is back): do not wait out pauses."""
        self._pauses.end_all(
            but={slot for slot, record in self._ledger.records.items() if record.refused_for(WRONG_BYTES)}
        )
        self._wake.set()

    def hurry(self) -> None:
        """Somebody is there, with chunks perhaps: no pause holds, no download waits for a network."""
        self._begins_anew = self._downloading
        self._starts.hurry()
        self._pauses.end_all(but=())
        self._wake.set()

    def reports(self) -> dict[str, SlotReport]:
        """Every slot as it stands, local ones too."""
        return build_reports(self._ledger.records, self._registry.slots_now, self._live)

    def _live(self, record: SlotRecord) -> Live:
        if record.slot == self._downloading:
            return Live(*self._traffic.speed())
        waits = (record.in_flight and record.state != "soaking") or record.refused_for(WRONG_BYTES)
        return Live(waits_until=self._pauses.until(record.slot) if waits else None)

    async def rollback(self, slot: str, held_by: str = "operator") -> Slot:
        """Go back to the previous version; what is desired now is not tried again before its attempt rises.

        Raises:
            SlotError: No such slot, or nothing to go back to.
        """
        self._interrupts.add(slot)
        self._wake.set()
        try:
            async with self._busy:
                return await self._ledger.go_back(slot, held_by)
        finally:
            self._interrupts.discard(slot)
            self._wake.set()

    async def run(self) -> None:
        """Follow desired states until cancelled."""
        while True:
            self._wake.clear()
            self._pauses.begin()
            try:
                async with self._busy:
                    await self._intake()
                slot, delay_s = self._next()
                if slot is not None and not delay_s:
                    async with self._busy:
                        await self._work(slot)
                    continue
            except DatabaseError as error:
                # Most likely a full disk. Nothing was changed; what was under way is done again.
                self._ledger.note(error)
                self._wake.clear()
                delay_s = self._limits.recheck_s
            await self._clock.wait(self._wake, delay_s)

    # Deciding.

    async def _intake(self) -> None:
        """Hold the desired state against every slot."""
        mark = await self._ledger.carry_through()
        names = {*self._ledger.records, *(self._ledger.desired.slots if self._ledger.desired else ())}
        for slot in sorted(names):
            event = self._ledger.judge(slot)
            if event == "superseded":
                await self._ledger.supersede(slot)
                event = self._ledger.judge(slot)
            wanted = self._ledger.wanted(slot)
            if event is None or wanted is None:
                continue
            self._pauses.renewed(slot)
            base = fresh(slot, wanted, self._ledger.generation, self._ledger.records.get(slot))
            reason = self._ledger.verdict(slot, wanted) if event == "held" else None
            await self._ledger.move(base, Go(event, {"reason": reason}), announced=event != "satisfied")
        self._considered = mark

    def _next(self) -> tuple[str | None, float | None]:
        """The slot to work on with 0, or the time until there may be one; (None, None): nothing to do."""
        now = self._clock.monotonic()
        due = {
            slot: self._pauses.due(slot)
            for slot, record in self._ledger.records.items()
            if record.in_flight or record.may_pass
        }
        if not due:
            return None, None
        slot = min(due, key=lambda name: (due[name], name))
        return slot, max(0.0, due[slot] - now)

    # Working.

    async def _work(self, slot: str) -> None:
        """One step of one slot, cut off when something newer makes it pointless."""
        record = self._ledger.records[slot]
        if not record.in_flight:
            await self._recheck(record)
            return
        work = Work(
            record=record,
            wanted=self._ledger.wanted(slot),
            minimum_versions={} if self._ledger.desired is None else self._ledger.desired.minimum_versions,
            manifest=await self._ledger.manifest(record),
            adapter_manifests=await self._ledger.adapter_manifests(record),
            on_progress=lambda done, fetched: self._progress(slot, done, fetched),
        )
        self._pauses.end(slot)
        self._begins_anew = None
        self._downloading = slot if record.state == "downloading" else None
        try:
            step = await self._interruptible(slot, self._steps.run(work))
        finally:
            self._downloading = None
        if isinstance(step, Go):
            self._pauses.moved(slot)
            if step.code == WRONG_BYTES:
                self._pauses.wait_after_wrong_bytes(slot)
            await self._ledger.move(self._ledger.records[slot], step)
        elif isinstance(step, Pause):
            await self._pause(slot, step)

    async def _interruptible(self, slot: str, effect: Any) -> Step | None:
        """Run an effect; None when it was cut off."""
        task: asyncio.Task[Step] = asyncio.create_task(effect, name=f"update {slot}")
        try:
            while True:
                woken = asyncio.create_task(self._wake.wait(), name="update wake")
                try:
                    await asyncio.wait(
                        {task, woken}, timeout=_TOLD_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    woken.cancel()
                if task.done():
                    return task.result()
                if self._downloading is not None:
                    self.changed.set()  # its speed, while a chunk takes long
                self._wake.clear()
                pointless = slot in {self._begins_anew, *self._interrupts}
                pointless = pointless or self._ledger.judge(slot) == "superseded"
                if pointless and self._ledger.records[slot].interruptible:
                    return None
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            # The loop looks at everything again after each step.
            self._wake.set()

    async def _pause(self, slot: str, pause: Pause) -> None:
        record = self._ledger.records[slot]
        delay_s = self._pauses.wait(slot, pause)
        after = msgspec.structs.replace(record, reason=pause.reason, **pause.changes)
        lasting = pause.lasting or record.reason != pause.reason
        if after != record:
            await self._ledger.amend(after, lasting=lasting)
        if lasting:
            log.info("update_waits", slot=slot, state=record.state, code=pause.reason.code, delay_s=delay_s)

    async def _recheck(self, record: SlotRecord) -> None:
        """A refusal that may pass: look whether it did."""
        slot, wanted = record.slot, self._ledger.wanted(record.slot)
        if wanted and record.is_about(wanted) and await refusal_passed(record, self._registry, self._device):
            await self._ledger.move(fresh(slot, wanted, self._ledger.generation, record), Go("wanted"))
            self._pauses.end(slot)
        else:
            self._pauses.wait_for(slot, self._limits.recheck_s)

    async def _progress(self, slot: str, done: int, fetched: int) -> None:
        record = self._ledger.records[slot]
        self._ledger.records[slot] = record = msgspec.structs.replace(
            record,
            bytes_done=done,
            bytes_fetched=record.bytes_fetched + fetched,
            reason=None if fetched else record.reason,  # bytes come: it waits no more
        )
        now = self._clock.monotonic()
        if now - self._told >= self._limits.progress_s:
            self._told = now
            try:
                await self._ledger.amend(record)
            except DatabaseError as error:
                # Only figures: they are stored with the next change.
                log.warning("progress_not_stored", slot=slot, error=str(error))

    def _registry_changed(self) -> None:
        for slot, record in self._ledger.records.items():
            if record.refused_for("no_space"):
                self._pauses.end(slot)
        self.changed.set()
        self._wake.set()

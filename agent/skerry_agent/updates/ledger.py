"""Where every slot stands, in memory and in updates.db: the one place that takes transitions."""

import asyncio

import msgspec
import structlog

from skerry_agent.database import DatabaseError
from skerry_agent.events import EventSink
from skerry_agent.registry import Registry, Slot, SlotError
from skerry_agent.updates.announcing import announce
from skerry_agent.updates.labelled import LabelledDevice
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.record import SlotRecord, fresh, judge, verdict_key
from skerry_agent.updates.soaking import superseded
from skerry_agent.updates.step import Go, file_sha256, why
from skerry_agent.updates.store import UpdateStore
from skerry_agent.updates.table import Event, State
from skerry_protocol.desired import DesiredSlot, DesiredState
from skerry_protocol.generation import GenerationMark
from skerry_protocol.reported import Reason

log = structlog.get_logger(__name__)

_SHORT_STEPS: frozenset[State] = frozenset({"checking", "verifying", "staged", "switching", "going_back"})


class Ledger:
    """The desired state, the slots' records, and what was rolled back before.

    Attributes:
        changed: Set at every change.
    """

    def __init__(
        self,
        store: UpdateStore,
        registry: Registry,
        *,
        events: EventSink,
        device: LabelledDevice,
        limits: UpdateLimits,
    ) -> None:
        self.changed = asyncio.Event()
        self.desired: DesiredState | None = None
        self.mark: GenerationMark | None = None
        self.records: dict[str, SlotRecord] = {}
        self._store = store
        self._registry = registry
        self._events = events
        self._device = device
        self._limits = limits
        self._verdicts: dict[tuple[str, str, str], tuple[int, Reason]] = {}

    async def accept(self, desired: DesiredState, mark: GenerationMark) -> None:
        """Take a desired state."""
        await self._store.put_desired(desired, mark)
        self.desired, self.mark = desired, mark
        self._device.labels = desired.own_labels
        self.changed.set()

    def wanted(self, slot: str) -> DesiredSlot | None:
        """What is desired of a slot."""
        return None if self.desired is None else self.desired.slots.get(slot)

    @property
    def generation(self) -> str:
        """The accepted generation, as text; empty when there is none."""
        return "" if self.mark is None else str(self.mark.generation)

    def judge(self, slot: str) -> Event | None:
        """What the desired state means for a slot now; None when nothing is to be decided."""
        wanted = self.wanted(slot)
        record = self.records.get(slot, SlotRecord(slot=slot))
        return judge(
            record,
            wanted,
            self.generation,
            self._registry.slots_now.get(slot, Slot(slot)).serving,
            self.verdict(slot, wanted),
        )

    def verdict(self, slot: str, wanted: DesiredSlot | None) -> Reason | None:
        """Why what is wanted was rolled back before, in this attempt or a later one."""
        if wanted is None:
            return None
        key = verdict_key(slot, wanted.target, wanted.adapters)
        attempt, reason = self._verdicts.get(key, (0, None))
        return reason if attempt >= wanted.attempt else None

    async def _release(self, record: SlotRecord) -> None:
        for manifest in (await self.manifest(record), *await self.adapter_manifests(record)):
            sha256 = file_sha256(manifest, self._device.facts(), self._limits)
            if sha256 is not None:
                await self._registry.release(sha256)

    async def manifest(self, record: SlotRecord) -> bytes | None:
        """The stored bytes of the manifest that a record is about."""
        return None if record.target is None else await self._store.manifest(record.target.sha256)

    async def adapter_manifests(self, record: SlotRecord) -> tuple[bytes | None, ...]:
        """The same for its adapters."""
        return tuple([await self._store.manifest(adapter.sha256) for adapter in record.adapters])

    async def move(self, record: SlotRecord, go: Go, *, announced: bool = True) -> None:
        """Take a transition: store it, then let the world know."""
        after = msgspec.structs.replace(record.after(go.event), **go.changes)
        if after.in_flight and after.stores > self._limits.max_stores:
            reason = Reason("looped", f"the update took {after.stores} steps without an end")
            after = msgspec.structs.replace(record.after("looped"), reason=reason)
        if after.state == "going_back" and record.state != "going_back":
            after = msgspec.structs.replace(after, because=after.reason)
        if record.in_flight and not after.in_flight and after.state != "committed":
            # Before the manifest is forgotten; done again after a crash.
            await self._release(record)
        if announced and not after.in_flight and after.state != "idle":
            after = msgspec.structs.replace(after, untold=record.state)
        verdict = after.reason if after.state == "rolled_back" and go.event != "held" else None
        await self._store.put_record(
            after, verdict=verdict, manifest=go.manifest, adapter_manifests=go.adapter_manifests
        )
        self.records[after.slot] = after
        if verdict is not None and after.target is not None:
            self._verdicts[after.verdict_key] = (after.attempt, verdict)
        self.changed.set()
        log.info("update_state", slot=after.slot, state=after.state, cause=go.event)
        await self._tell(after)

    async def _tell(self, record: SlotRecord) -> None:
        """Record the event of an end that was stored; at the next start, if power fails between the two."""
        if record.untold is None:
            return
        before = SlotRecord(slot=record.slot, state=record.untold)
        await announce(self._events, before, record, self.generation)
        try:
            await self.amend(msgspec.structs.replace(record, untold=None))
        except DatabaseError as error:
            # Then the event is recorded twice, rather than not at all.
            log.warning("event_not_noted", slot=record.slot, error=str(error))

    def note(self, error: DatabaseError) -> None:
        """Nothing can be stored now: say so in the reports, though only from memory."""
        log.warning("updates_not_stored", error=str(error))
        for slot, wanted in () if self.desired is None else self.desired.slots.items():
            record = self.records.get(slot, SlotRecord(slot=slot))
            if record.in_flight or not record.is_about(wanted):
                self.records[slot] = msgspec.structs.replace(record, reason=why(error))
        self.changed.set()

    async def amend(self, record: SlotRecord, *, lasting: bool = True) -> None:
        """Take a record whose state did not change; without ``lasting`` it is stored and told later."""
        if lasting:
            await self._store.put_record(record)
        self.records[record.slot] = record
        if lasting:
            self.changed.set()

    async def supersede(self, slot: str) -> None:
        """Leave what is under way: something else is wanted now, or nothing."""
        record = self.records[slot]
        log.info("update_superseded", slot=slot, state=record.state)
        changes = {"reason": superseded(slot)} if record.state == "soaking" else {}
        await self.move(record, Go("superseded", changes))

    # Going back, and starting.

    async def go_back(self, slot: str, held_by: str) -> Slot:
        """Go back to the previous version, and hold what is wanted until its attempt rises.

        Raises:
            SlotError: No such slot, or nothing to go back to.
        """
        current = self._registry.slots_now.get(slot)
        if current is None or current.before is None or current.before.broken:
            return await self._registry.rollback(slot, held_by=held_by)
        wanted = self.wanted(slot)
        if wanted is None:
            return await self._registry.rollback(slot, held_by=held_by)
        old = self.records.get(slot)
        if old is not None and old.in_flight and not old.is_about(wanted):
            await self.move(old, Go("superseded"))
            old = self.records[slot]
        about = old is not None and old.is_about(wanted)
        record = old if old is not None and about else fresh(slot, wanted, self.generation, old)
        reason = Reason("rolled_back_by_hand", f"{held_by} went back to {current.before.text}")
        changes = {"reason": reason, "going_back": True, "soak": None}
        await self.move(record, Go("rolled_back_by_hand", changes), announced=False)
        return await self._finish_going_back(self.records[slot], held_by)

    async def _finish_going_back(self, record: SlotRecord, held_by: str) -> Slot:
        slot = await self._registry.rollback(record.slot, held_by=held_by)
        done = msgspec.structs.replace(record, going_back=False, untold=record.state)
        await self.amend(done)
        await self._tell(done)
        return slot

    async def carry_through(self) -> GenerationMark | None:
        """Finish what a person began and a failing disk kept from its end; returns what is followed.

        Raises:
            DatabaseError: It still fails.
        """
        for record in list(self.records.values()):
            if record.going_back:
                await self._take_up_going_back(record)
        return self.mark

    async def reconcile(self) -> None:
        """Take up what is stored. What was under way is gone on with, or ended when it loops."""
        stored = await self._store.load()
        self.desired, self.mark = stored.desired, stored.mark
        if self.desired is not None:
            self._device.labels = self.desired.own_labels
        self.records, self._verdicts = stored.records, stored.verdicts
        for record in list(self.records.values()):
            await self._tell(record)
            record = self.records[record.slot]  # noqa: PLW2901 - the same, told
            if record.going_back:
                await self._take_up_going_back(record)
            elif record.in_flight:
                await self._restart(record)

    async def _take_up_going_back(self, record: SlotRecord) -> None:
        slot = self._registry.slots_now.get(record.slot, Slot(record.slot))
        if slot.active is not None and slot.held is None:
            try:
                await self._finish_going_back(record, "operator")
            except SlotError as error:
                log.warning("rollback_impossible", slot=record.slot, error=str(error))
            else:
                return
        # The slot was switched: what is missing is the event, and that nothing is under way any more.
        told = None if slot.held is None else record.state
        done = msgspec.structs.replace(record, going_back=False, untold=told)
        await self.amend(done)
        await self._tell(done)

    async def _restart(self, record: SlotRecord) -> None:
        # A long download may take any number of starts, and whoever stops the agent says nothing about the
        # version that soaks.
        starts = record.starts + (0 if record.stopped else 1)
        if record.state == "trial" and record.trials >= self._limits.max_trials:
            message = f"the agent ended in each of {record.trials} trials"
        elif record.state == "soaking" and starts >= self._limits.max_soak_starts:
            message = f"the agent ended {starts} times while the version took requests on trial"
        elif record.state in _SHORT_STEPS and starts > self._limits.max_starts:
            message = f"the agent ended {starts} times while the update was {record.state}"
        else:
            # These do not count as steps.
            changes = {"starts": starts, "stores": record.stores, "reason": record.reason}
            await self.move(record, Go("restarted", changes))
            return
        await self.move(record, Go("looped", {"reason": Reason("crash_loop", message)}))

    async def stop(self) -> None:
        """Note that the agent was asked to end, for those versions that would have to answer for its end."""
        for record in list(self.records.values()):
            if record.state == "soaking":
                await self.amend(msgspec.structs.replace(record, stopped=True))

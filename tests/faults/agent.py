"""The agent of these walks: opens the rooms, follows what is wanted, and tells what it sees over a pipe."""

import asyncio
import hashlib
import secrets
import traceback
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from faults.carried import take_in
from faults.enrollment import live_enrolling
from faults.layer import Layer
from faults.rooms import HealingClock, House, Rooms, Run, Said, Teller, said
from faults.stage import Stage, Wanted
from skerry_agent.configs import settings_for_start
from skerry_agent.errors import AgentError
from skerry_agent.outbox import Outbox
from skerry_agent.registry import Registry
from skerry_protocol.records import Value
from skerry_protocol.reported import SlotReport
from support.updates import CHANNEL

_DEADLINE_S: Final = 30.0
_BATCH_BYTES: Final = 1 << 20
_NUMBERS: Final = 1 << 50
_ENDS: Final = ("committed", "refused", "rolled_back")


@dataclass
class Agent:
    """Opens the rooms, follows what is wanted, and tells."""

    run: Run
    stage: Stage
    teller: Teller
    layer: Layer
    samples: int = 0
    clock: HealingClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = HealingClock(self.layer, self.teller)
        self.clock.holds = self.stage.person is not None and self.run.making is None

    async def live(self, wanted: Wanted) -> None:
        """From start to the end of the update. A start that a fault refuses is done again without it."""
        house = House(self.run, self.stage, self.teller, self.layer, self.clock, self._look)
        while True:
            async with AsyncExitStack() as stack:
                try:
                    rooms = await stack.enter_async_context(house.opened(wanted))
                except AgentError as error:
                    if self.clock.healed or not self.layer.hits:
                        raise
                    self.clock.heal("start", message=str(error))
                    continue
                await self._follow(rooms, wanted)
                return

    async def _follow(self, rooms: Rooms, wanted: Wanted) -> None:
        await self._sample(rooms)
        await self._accept(rooms, wanted)
        async with asyncio.timeout(_DEADLINE_S), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(rooms.engine.run(), name="engine")
            if wanted.stick:
                await self._take_in(rooms)
            report = await self._end(rooms, wanted, running)
            running.cancel()
        await self._acknowledge(rooms.outbox)
        await self._configure(rooms, wanted)
        if self.layer.hits and not self.clock.healed:
            self.clock.heal("end", **said(report)._asdict())
        await self._sample(rooms)
        await rooms.outbox.flush()
        self._look(rooms.registry, "end")
        await self._tell_end(rooms, report)

    async def _accept(self, rooms: Rooms, wanted: Wanted) -> None:
        """Take the controller's word; that of a person who wants something else has come already."""
        other = self.stage.withdrawn
        if other is not None and rooms.engine.accepted == other.mark:
            wanted = other
        if wanted.desired is None or wanted.mark is None:
            return
        try:
            await rooms.engine.follow(wanted.desired, wanted.mark)
        except AgentError as error:
            # The controller sends it again.
            self.clock.heal("follow", message=str(error))
            await rooms.engine.follow(wanted.desired, wanted.mark)

    async def _take_in(self, rooms: Rooms) -> None:
        """Import the bundle on the stick; once more when a fault spoiled that."""
        while True:
            problem = await take_in(rooms, self.stage, self.run.stick)
            if problem is None:
                return
            if self.clock.healed or not self.layer.hits:
                self.teller.tell("wrong", what=f"the import failed: {problem}")
                return
            self.clock.heal("import", message=problem)

    async def _end(self, rooms: Rooms, wanted: Wanted, running: asyncio.Task[None]) -> SlotReport:
        """Wait until the update came to an end, and nothing is to be tried again."""
        withdrawn = self.stage.withdrawn
        about = wanted if withdrawn is None or self.run.making is not None else withdrawn
        while True:
            rooms.engine.changed.clear()
            report = rooms.engine.reports().get(CHANNEL)
            if report is not None and report.state == "staged" and self.samples == 1:
                await self._sample(rooms)
            if report is not None and self.clock.holds and said(report).code == "soaking":
                await self._meddle(rooms)
                continue
            # An adapter's slot is about its model's manifest.
            hashes = () if report is None else (report.target_sha256, *report.adapters)
            if report is not None and about.target.sha256 == hashes[-1]:
                final = report.state == "committed" or self.clock.idle.is_set()
                followed = withdrawn is None or about is wanted or rooms.engine.considered == withdrawn.mark
                if final and followed and report.state in _ENDS:
                    return report
            waits = [rooms.engine.changed.wait(), self.clock.idle.wait()]
            tasks = [running, *(asyncio.ensure_future(wait) for wait in waits)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks[1:]:
                task.cancel()

    async def _meddle(self, rooms: Rooms) -> None:
        """Somebody does what is done in the soak; again, when a fault kept them from it."""
        other = self.stage.withdrawn
        try:
            if other is not None and other.desired is not None and other.mark is not None:
                await rooms.engine.follow(other.desired, other.mark)
            else:
                await rooms.engine.rollback(CHANNEL)
        except AgentError as error:
            if self.clock.healed or not self.layer.hits:
                raise
            self.clock.heal("person", message=str(error))
        else:
            self.clock.holds = False

    async def _configure(self, rooms: Rooms, wanted: Wanted) -> None:
        """Follow the config bundles to their end."""
        self.clock.say = lambda: Said(
            **next(
                ({"code": r.code, "message": r.message} for c in rooms.configs.reports() if (r := c.reason)),
                {},
            )
        )
        targets = () if wanted.desired is None else wanted.desired.configs
        async with asyncio.timeout(_DEADLINE_S), asyncio.TaskGroup() as tasks:
            rooms.configs.follow(targets, {})
            running = tasks.create_task(rooms.configs.run(), name="configs")
            while not all(
                config.applied or (config.reason is not None and config.reason.code == "unhealthy")
                for config in rooms.configs.reports()
            ):
                rooms.configs.changed.clear()
                await rooms.configs.changed.wait()
            running.cancel()

    async def _sample(self, rooms: Rooms) -> None:
        self.samples += 1
        await rooms.events.sample(secrets.randbelow(_NUMBERS))

    async def _acknowledge(self, outbox: Outbox) -> None:
        """The controller has stored the oldest batch."""
        try:
            (batch, *_) = await outbox.pending_batches(_BATCH_BYTES)
            for record in batch.records:
                self._acknowledged(record.name, record.data)
            await outbox.acknowledge({batch.stream: batch.covers})
        except AgentError:
            # It will say so again.
            if not self.layer.hits:
                raise

    def _acknowledged(self, name: str, data: Mapping[str, Value]) -> None:
        self.teller.tell("acknowledged", name=name, data=data, after=self.layer.count)

    def _look(self, registry: Registry, when: str) -> None:
        """What serves now, and whether its files are what they should be."""
        slot = registry.slots_now.get(CHANNEL)
        pair = slot.serving if slot is not None else None
        whole = pair is not None and all(
            not part.broken
            and part.path.exists()
            and hashlib.sha256(part.path.read_bytes()).hexdigest() == part.file_sha256
            for part in pair.parts
        )
        self.teller.tell("serves", when=when, ref=pair.text if pair is not None and whole else None)

    async def _tell_end(self, rooms: Rooms, report: SlotReport) -> None:
        pending = [
            (record.name, record.data)
            for batch in await rooms.outbox.pending_batches(_BATCH_BYTES, max_batches=1000)
            for record in batch.records
        ]
        self.teller.tell(
            "end",
            pending=pending,
            operations=self.layer.count,
            settings=settings_for_start(self.run.state.configs),
            **said(report)._asdict(),
        )


def live(run: Run, stage: Stage, descriptor: int) -> None:
    """Be the agent, in a process of its own; never raises."""
    teller = Teller(descriptor)
    layer = Layer()
    try:
        layer.arm(Path(run.root), Path(run.record) if run.record else None, run.mode, run.at, run.failure)
        if stage.enrolling is not None:
            asyncio.run(live_enrolling(run, stage, stage.enrolling, teller, layer))
        else:
            wanted = stage.needed if run.making is None else stage.before[run.making]
            asyncio.run(Agent(run, stage, teller, layer).live(wanted))
    except BaseException:  # noqa: BLE001 - whatever it is, the walk shows it
        teller.tell("died", traceback=traceback.format_exc())

"""The agent of these walks: the device's real rooms in one process, which tells what it sees over a pipe."""

import asyncio
import hashlib
import json
import os
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import requests

from faults.layer import Layer, Mode
from faults.stage import Stage, Wanted
from skerry_agent.configs import ConfigFollower, Settings, settings_for_start
from skerry_agent.errors import AgentError
from skerry_agent.outbox import Outbox
from skerry_agent.registry import Registry
from skerry_agent.settings import BUNDLE_SECTIONS, check_bundle
from skerry_agent.state import StateFolder
from skerry_agent.trust import FleetTargets, TrustStore
from skerry_agent.trusted_time import TrustedTime
from skerry_agent.updates import Network, Traffic, UpdateEngine, UpdateLimits
from skerry_agent.updates.ports import P
from skerry_agent.updates.sources import HttpSource
from skerry_protocol.records import Value
from skerry_protocol.reported import SlotReport
from skerry_protocol.requests import Capability
from support.fake_health import FakeHealth
from support.metadata_sources import RecordingSource
from support.registry import LIMITS
from support.tuf_repository import START
from support.updates import CHANNEL, FakeDevice, FakeTrier

_DEADLINE_S: Final = 30.0
_BATCH_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Run:
    """One life of the agent.

    Attributes:
        state: Its state folder.
        url: Where it may fetch chunks from; a digest is added.
        record: Where the layer writes operations to.
        mode: What the layer does at operation ``at``.
        bootstrap: Whether to begin to trust the fleet first.
    """

    state: str
    url: str
    record: str | None = None
    mode: Mode = "count"
    at: int = 0
    failure: int = 0
    bootstrap: bool = False


class Said(NamedTuple):
    """What a report says."""

    state: str | None = None
    code: str | None = None
    message: str | None = None


class Teller:
    """Tells facts over a pipe, one JSON line each: what was told is known, whatever happens next."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, fact: str, **data: Any) -> None:
        line = json.dumps({"fact": fact, **data}).encode() + b"\n"
        while line:
            line = line[os.write(self._descriptor, line) :]


class HealingClock:
    """Jumps over pauses. With a fault about, the first pause says why, and ends the fault."""

    def __init__(self, layer: Layer, teller: Teller) -> None:
        self._layer = layer
        self._teller = teller
        self._now = 0.0
        self.healed = False
        self.idle = asyncio.Event()
        self.say: Callable[[], Said] = Said

    def monotonic(self) -> float:
        return self._now

    async def wait(self, event: asyncio.Event, timeout_s: float | None) -> None:
        if timeout_s is None:
            self.idle.set()
            await event.wait()
            return
        await asyncio.sleep(0)
        if event.is_set():
            return
        self._now += timeout_s
        if self._layer.hits and not self.healed:
            said = self.say()
            if said.code != "soaking":
                self.heal("pause", **said._asdict())

    def heal(self, when: str, **data: Any) -> None:
        """End the fault."""
        self.healed = True
        self._teller.tell("healed", when=when, hits=self._layer.hits, **data)
        self._layer.heal()


class ToldEvents:
    """The outbox, telling which records it acknowledged as stored."""

    def __init__(self, outbox: Outbox, teller: Teller) -> None:
        self._outbox = outbox
        self._teller = teller

    async def emit(self, name: str, /, *, audit: bool = False, **data: Value) -> None:
        await self._outbox.emit(name, audit=audit, **data)
        await self._tell(name, data)

    async def sample(self, number: int) -> None:
        """Take one sample."""
        self._outbox.add_sample({"number": number})
        await self._outbox.flush()
        await self._tell("sample", {"number": float(number)})

    async def _tell(self, name: str, data: dict[str, Value]) -> None:
        if (await self._outbox.stats()).buffered == 0:
            self._teller.tell("stored", name=name, data=data)


class ToldSource:
    """The HTTP source, telling which chunks were taken from it: verified and written."""

    name = "http"

    def __init__(self, inner: HttpSource, teller: Teller) -> None:
        self._inner = inner
        self._teller = teller

    async def read(self, blob_sha256: str, pieces: Sequence[P]) -> AsyncGenerator[tuple[P, bytes], None]:
        async for piece, data in self._inner.read(blob_sha256, pieces):
            yield piece, data
            self._teller.tell("took", sha256=blob_sha256, offset=piece.offset, length=piece.length)


class Addresses:
    """Gives the one address."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def capability(self, sha256: str) -> Capability:
        return Capability(
            device="d", request="r", issued_at=0, expires_at=1, sha256=sha256, urls=(f"{self._url}/{sha256}",)
        )


class Healthy:
    """Takes all settings."""

    async def apply(self, settings: Settings) -> bool:
        return True


@dataclass
class Rooms:
    """What is open."""

    outbox: Outbox
    events: ToldEvents
    registry: Registry
    engine: UpdateEngine
    configs: ConfigFollower


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

    async def live(self, wanted: Wanted) -> None:
        """From start to the end of the update. A start that a fault refuses is done again without it."""
        while True:
            async with AsyncExitStack() as stack:
                try:
                    rooms = await stack.enter_async_context(self._rooms(wanted))
                except AgentError as error:
                    if self.clock.healed or not self.layer.hits:
                        raise
                    self.clock.heal("start", message=str(error))
                    continue
                await self._follow(rooms, wanted)
                return

    @asynccontextmanager
    async def _rooms(self, wanted: Wanted) -> AsyncIterator[Rooms]:
        state = StateFolder(Path(self.run.state))
        async with AsyncExitStack() as stack:
            stack.enter_context(state.locked())
            settings_for_start(state.configs)
            time = TrustedTime(state.trusted_time, START.timestamp)
            outbox = await Outbox.open(state.outbox, clock=time)
            stack.push_async_callback(outbox.close)
            events = ToldEvents(outbox, self.teller)
            registry = await Registry.open(state.registry, limits=LIMITS, events=events)
            stack.push_async_callback(registry.close)
            self._look(registry, "start")
            registry.subscribe(lambda: self._look(registry, "change"))
            trust = TrustStore(state.trust, time, events=events)
            source = RecordingSource(wanted.files)
            if self.run.bootstrap:
                await trust.bootstrap(self.stage.root, self.stage.root_sha256, source)
            elif await trust.load() != "loaded":
                self.teller.tell("wrong", what="the trust state was lost")
            engine = await self._engine(state, registry, FleetTargets(trust, source), events)
            stack.push_async_callback(engine.close)
            configs = ConfigFollower(
                state.configs,
                targets=FleetTargets(trust, source),
                target=Healthy(),
                validate=check_bundle,
                allowed_sections=BUNDLE_SECTIONS,
                events=events,
                clock=self.clock,
            )
            yield Rooms(outbox, events, registry, engine, configs)

    async def _engine(
        self, state: StateFolder, registry: Registry, targets: FleetTargets, events: ToldEvents
    ) -> UpdateEngine:
        traffic, limits = Traffic(), UpdateLimits(progress_s=0.0)
        http = HttpSource(
            Addresses(self.run.url),
            lambda _: requests.Session(),
            traffic=traffic,
            monotonic=self.clock.monotonic,
        )
        network = Network([ToldSource(http, self.teller)], traffic, events, limits)
        engine = await UpdateEngine.open(
            state.updates,
            registry,
            targets=targets,
            network=network,
            trier=FakeTrier(),
            events=events,
            device=FakeDevice(),
            health=FakeHealth(),
            clock=self.clock,
            limits=limits,
            uniform=lambda: 1.0,
        )
        self.clock.say = lambda: _said(engine.reports().get(CHANNEL))
        return engine

    async def _follow(self, rooms: Rooms, wanted: Wanted) -> None:
        await self._sample(rooms)
        await self._accept(rooms.engine, wanted)
        async with asyncio.timeout(_DEADLINE_S), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(rooms.engine.run(), name="engine")
            report = await self._end(rooms, wanted, running)
            running.cancel()
        await self._acknowledge(rooms.outbox)
        await self._configure(rooms, wanted)
        if self.layer.hits and not self.clock.healed:
            self.clock.heal("end", **_said(report)._asdict())
        await self._sample(rooms)
        await rooms.outbox.flush()
        self._look(rooms.registry, "end")
        await self._tell_end(rooms, report)

    async def _configure(self, rooms: Rooms, wanted: Wanted) -> None:
        """Follow the config bundles to their end."""
        self.clock.say = lambda: Said(
            **next(
                ({"code": r.code, "message": r.message} for c in rooms.configs.reports() if (r := c.reason)),
                {},
            )
        )
        async with asyncio.timeout(_DEADLINE_S), asyncio.TaskGroup() as tasks:
            rooms.configs.follow(wanted.desired.configs, {})
            running = tasks.create_task(rooms.configs.run(), name="configs")
            while not all(config.applied for config in rooms.configs.reports()):
                rooms.configs.changed.clear()
                await rooms.configs.changed.wait()
            running.cancel()

    async def _accept(self, engine: UpdateEngine, wanted: Wanted) -> None:
        try:
            await engine.follow(wanted.desired, wanted.mark)
        except AgentError as error:
            # The controller sends it again.
            self.clock.heal("follow", message=str(error))
            await engine.follow(wanted.desired, wanted.mark)

    async def _end(self, rooms: Rooms, wanted: Wanted, running: asyncio.Task[None]) -> SlotReport:
        """Wait until the update came to an end, and nothing is to be tried again."""
        target = wanted.desired.slots[CHANNEL].target
        while True:
            rooms.engine.changed.clear()
            report = rooms.engine.reports().get(CHANNEL)
            if report is not None and report.target_path == target.path:
                if report.state == "staged" and self.samples == 1:
                    await self._sample(rooms)
                final = report.state == "committed" or self.clock.idle.is_set()
                if final and report.state in ("committed", "refused", "rolled_back"):
                    return report
            waits = [rooms.engine.changed.wait(), self.clock.idle.wait()]
            tasks = [running, *(asyncio.ensure_future(wait) for wait in waits)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks[1:]:
                task.cancel()

    async def _sample(self, rooms: Rooms) -> None:
        self.samples += 1
        await rooms.events.sample(os.getpid() * 10 + self.samples)

    async def _acknowledge(self, outbox: Outbox) -> None:
        """The controller has stored the oldest batch."""
        try:
            (batch, *_) = await outbox.pending_batches(_BATCH_BYTES)
            for record in batch.records:
                self.teller.tell("acknowledged", name=record.name, data=record.data)
            await outbox.acknowledge({batch.stream: batch.covers})
        except AgentError:
            # It will say so again.
            if not self.layer.hits:
                raise

    def _look(self, registry: Registry, when: str) -> None:
        """What serves now, and whether its file is what it should be."""
        slot = registry.slots_now.get(CHANNEL)
        active = slot.active if slot is not None else None
        whole = (
            active is not None
            and not active.broken
            and active.path.exists()
            and hashlib.sha256(active.path.read_bytes()).hexdigest() == active.file_sha256
        )
        self.teller.tell("serves", when=when, ref=active.ref if active is not None and whole else None)

    async def _tell_end(self, rooms: Rooms, report: SlotReport) -> None:
        pending = [
            (record.name, record.data)
            for batch in await rooms.outbox.pending_batches(_BATCH_BYTES, max_batches=1000)
            for record in batch.records
        ]
        self.teller.tell("end", pending=pending, operations=self.layer.count, **_said(report)._asdict())


def _said(report: SlotReport | None) -> Said:
    if report is None:
        return Said()
    return Said(report.state, *((report.reason.code, report.reason.message) if report.reason else ()))


def live(run: Run, stage: Stage, descriptor: int) -> None:
    """Be the agent, in a process of its own; never raises."""
    teller = Teller(descriptor)
    layer = Layer()
    wanted = stage.first if run.bootstrap else stage.second
    try:
        layer.arm(Path(run.state), Path(run.record) if run.record else None, run.mode, run.at, run.failure)
        asyncio.run(Agent(run, stage, teller, layer).live(wanted))
    except BaseException:  # noqa: BLE001 - whatever it is, the walk shows it
        teller.tell("died", traceback=traceback.format_exc())

"""The device's real rooms, opened over one state folder, and what they stand on in these walks."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import requests

from faults.layer import Layer, Mode
from faults.stage import Stage, Wanted
from skerry_agent.configs import ConfigFollower, Settings, settings_for_start
from skerry_agent.outbox import Outbox
from skerry_agent.registry import Registry
from skerry_agent.runtime import HealthCounts
from skerry_agent.settings import BUNDLE_SECTIONS, check_bundle
from skerry_agent.state import StateFolder
from skerry_agent.trust import FleetTargets, TrustStore
from skerry_agent.trusted_time import TrustedTime
from skerry_agent.updates import Network, Traffic, UpdateEngine, UpdateLimits
from skerry_agent.updates.ports import P
from skerry_agent.updates.record import SlotRecord
from skerry_agent.updates.sources import BundleSource, HttpSource, PatchSource
from skerry_agent.updates.store import UpdateStore
from skerry_protocol.records import Value
from skerry_protocol.reported import SlotReport
from skerry_protocol.requests import Capability
from support.metadata_sources import RecordingSource
from support.registry import LIMITS
from support.updates import CHANNEL, FakeDevice, FakeTrier

_BEGINS_AT_S: Final = 100.0
UNHEALTHY_S: Final = 20.0
"""A device that is not to be healthy is so with this flush interval."""


@dataclass(frozen=True)
class Run:
    """One life of the agent.

    Attributes:
        root: What the layer watches: the state folder, and the stick where one is put in.
        url: Where it may fetch chunks from; a digest is added.
        record: Where the layer writes operations to.
        mode: What the layer does at operation ``at``.
        making: The device is being made: it follows ``before[making]`` of the stage. ``None``: it is there.
    """

    root: str
    url: str
    record: str | None = None
    mode: Mode = "count"
    at: int = 0
    failure: int = 0
    making: int | None = None

    @property
    def state(self) -> StateFolder:
        """The state folder."""
        return StateFolder(Path(self.root) / "state")

    @property
    def stick(self) -> Path:
        """Where a stick is mounted."""
        return Path(self.root) / "stick"


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
    """Jumps over pauses. With a fault about, the first pause says why, and ends the fault.

    Attributes:
        holds: It stands still while a version soaks, until somebody has done what is done in the soak.
    """

    def __init__(self, layer: Layer, teller: Teller) -> None:
        self._layer = layer
        self._teller = teller
        self._now = _BEGINS_AT_S
        self.healed = False
        self.holds = False
        self.idle = asyncio.Event()
        self.say: Callable[[], Said] = Said

    def monotonic(self) -> float:
        return self._now

    async def wait(self, event: asyncio.Event, timeout_s: float | None) -> None:
        if timeout_s is None:
            self.idle.set()
            await event.wait()
            return
        soaks = self.say().code == "soaking"
        if soaks and self.holds:
            await event.wait()
            return
        await asyncio.sleep(0)
        if event.is_set():
            return
        self._now += timeout_s
        if self._layer.hits and not self.healed and not soaks:
            self.heal("pause", **self.say()._asdict())

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
    """The HTTP source, telling which bytes were taken from it: verified and written."""

    name = "http"

    def __init__(self, inner: HttpSource, teller: Teller) -> None:
        self._inner = inner
        self._teller = teller

    async def read(self, blob_sha256: str, pieces: Sequence[P]) -> AsyncGenerator[tuple[P, bytes], None]:
        async for piece, data in self._inner.read(blob_sha256, pieces):
            yield piece, data
            self._teller.tell("took", sha256=blob_sha256, offset=piece.offset, length=piece.length)


class _Addresses:
    """Gives the one address."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def capability(self, sha256: str) -> Capability:
        return Capability(
            device="d", request="r", issued_at=0, expires_at=1, sha256=sha256, urls=(f"{self._url}/{sha256}",)
        )


class _Health:
    """Ten tokens a second, one request a second; of the version with the digest ``slow`` a third of that."""

    def __init__(self, clock: HealingClock, slow: str) -> None:
        self._clock = clock
        self._slow = slow

    def counts(self, file_sha256: str) -> HealthCounts:
        seconds = self._clock.monotonic()
        times = 3.0 if file_sha256 == self._slow else 1.0
        return HealthCounts(
            finished=int(seconds),
            first_token_s=seconds / 100,
            decoded=int(10 * seconds),
            decode_s=seconds * times,
        )

    def celsius(self) -> float | None:
        return None


class _SettingsTarget:
    """Takes settings, and is healthy unless the story says otherwise."""

    def __init__(self, stage: Stage) -> None:
        self._always = stage.healthy

    async def apply(self, settings: Settings) -> bool:
        return self._always or settings.get("telemetry", {}).get("flush_interval_s") != UNHEALTHY_S


@dataclass
class Rooms:
    """What is open."""

    time: TrustedTime
    outbox: Outbox
    events: ToldEvents
    trust: TrustStore
    registry: Registry
    bundle: BundleSource
    engine: UpdateEngine
    configs: ConfigFollower


@dataclass
class House:
    """Opens the rooms for a run."""

    run: Run
    stage: Stage
    teller: Teller
    layer: Layer
    clock: HealingClock
    look: Callable[[Registry, str], None]

    @asynccontextmanager
    async def opened(self, wanted: Wanted) -> AsyncIterator[Rooms]:
        """The rooms, from the lock of the state folder on."""
        state = self.run.state
        async with AsyncExitStack() as stack:
            stack.enter_context(state.locked())
            settings_for_start(state.configs)
            time = TrustedTime(state.trusted_time, lambda: self.stage.now)
            outbox = await Outbox.open(state.outbox, clock=time)
            stack.push_async_callback(outbox.close)
            events = ToldEvents(outbox, self.teller)
            limits = replace(LIMITS, disk_budget_bytes=self.stage.budget_bytes)
            registry = await Registry.open(state.registry, limits=limits, events=events)
            stack.push_async_callback(registry.close)
            self.look(registry, "start")
            registry.subscribe(lambda: self.look(registry, "change"))
            trust = TrustStore(state.trust, time, events=events)
            source = RecordingSource(wanted.files)
            if self.run.making == 0:
                await trust.bootstrap(self.stage.root, self.stage.root_sha256, source)
            elif await trust.load() != "loaded":
                self.teller.tell("wrong", what="the trust state was lost")
            targets, bundle = FleetTargets(trust, source), BundleSource()
            engine = await self._engine(registry, targets, events, bundle)
            stack.push_async_callback(engine.close)
            configs = self._configs(targets, events)
            yield Rooms(time, outbox, events, trust, registry, bundle, engine, configs)

    async def _engine(
        self, registry: Registry, targets: FleetTargets, events: ToldEvents, bundle: BundleSource
    ) -> UpdateEngine:
        traffic, limits = Traffic(), UpdateLimits(progress_s=0.0)
        http = HttpSource(
            _Addresses(self.run.url),
            lambda _: requests.Session(),
            traffic=traffic,
            monotonic=self.clock.monotonic,
        )
        network = Network([ToldSource(http, self.teller)], traffic, events, limits)
        engine = await UpdateEngine.open(
            self.run.state.updates,
            registry,
            targets=targets,
            network=network,
            nearby=[bundle, PatchSource(registry, targets, network)],
            trier=FakeTrier(),
            events=events,
            device=FakeDevice(),
            health=_Health(self.clock, self.stage.entries[-1].sha256 if self.stage.worse else ""),
            clock=self.clock,
            limits=limits,
            uniform=lambda: 1.0,
        )
        self._tell_steps(engine._store)  # as the world of the engine's own tests does
        self.clock.say = lambda: said(engine.reports().get(CHANNEL))
        return engine

    def _configs(self, targets: FleetTargets, events: ToldEvents) -> ConfigFollower:
        return ConfigFollower(
            self.run.state.configs,
            targets=targets,
            target=_SettingsTarget(self.stage),
            validate=check_bundle,
            allowed_sections=BUNDLE_SECTIONS,
            events=events,
            clock=self.clock,
        )

    def _tell_steps(self, store: UpdateStore) -> None:
        """Tell which state is about to be stored, and how many operations came before."""
        put_record = store.put_record

        async def told(record: SlotRecord, **more: Any) -> None:
            self.teller.tell("step", state=record.state, after=self.layer.count)
            await put_record(record, **more)

        store.put_record = told  # type: ignore[method-assign]  # of this one object


def said(report: SlotReport | None) -> Said:
    """What a report says, in short."""
    if report is None:
        return Said()
    return Said(report.state, *((report.reason.code, report.reason.message) if report.reason else ()))

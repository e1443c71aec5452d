"""The agent's whole update path, from the desired state to the file, without its runner and its broker."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec

from bench.updates.peers import Cost, cpu_s, sha256_of
from bench.updates.site import DEVICE, Site, Traffic
from skerry_agent.registry import Registry, RegistryLimits
from skerry_agent.sync import SyncLimits
from skerry_agent.sync.requester import Requester
from skerry_agent.trust import FilesSource, FleetTargets, TrustedTime, TrustStore
from skerry_agent.updates import UpdateEngine, UpdateLimits
from skerry_agent.updates.network import Network
from skerry_agent.updates.sources import MqttSource, PatchSource
from skerry_agent.updates.traffic import Traffic as DeviceTraffic
from skerry_controller.enrollment.first_files import first_files
from skerry_protocol.desired import DesiredSlot, DesiredState, TargetRef
from skerry_protocol.generation import Generation, GenerationMark
from skerry_protocol.manifest import FileEntry
from skerry_protocol.reported import Reason, SlotReport
from skerry_protocol.signing import KeySigner
from support.fake_health import FakeHealth
from support.registry import RecordedEvents
from support.repository import NOW
from support.updates import CHANNEL, FakeTrier

UPDATE_TIMEOUT_S = 900.0
_ENDS = frozenset({"committed", "rolled_back", "refused"})


class UpdateFailedError(RuntimeError):
    """The device did not take the version."""


@dataclass(frozen=True)
class Update:
    """One update of a device.

    Attributes:
        cost: Bytes on the wire and CPU seconds.
        traffic: What the bytes were.
        chunks_fetched: Chunks of which bytes came over the network.
        chunks: All of the new file.
    """

    cost: Cost
    traffic: Traffic
    chunks_fetched: int
    chunks: int


class Roomy:
    """A device on which everything fits."""

    def facts(self) -> Mapping[str, str]:
        """No labels."""
        return {"arch": "x86_64"}

    def model_memory_bytes(self, replaces: str | None) -> int:
        """More than any model needs."""
        return 1 << 40

    def cpu_features(self) -> frozenset[str]:
        """None that anybody asks for."""
        return frozenset()

    async def library_problem(self, architecture: str) -> Reason | None:
        """Every architecture runs."""
        return None

    def cache_tokens(self, trained_tokens: int) -> int:
        """The default context."""
        return min(2048, trained_tokens)


class DirectorSays:
    """Nothing here asks for what only the director could open."""

    def __call__(self, kind: str, data: bytes) -> bytes:
        """Never called."""
        raise AssertionError(kind)


class DeviceUnderTest:
    """A device at one site."""

    def __init__(self, site: Site, registry: Registry, engine: UpdateEngine) -> None:
        self._site = site
        self._registry = registry
        self._engine = engine
        self._number = 0
        self._running = asyncio.create_task(engine.run(), name="updates")

    @classmethod
    async def open(cls, site: Site, folder: Path) -> Self:
        """A device that was just enrolled."""
        time = TrustedTime(folder / "time.json", NOW.timestamp)
        trust = TrustStore(folder / "trust", time)
        root = site.fleet.root
        source = FilesSource(first_files(site.fleet.repository))
        await trust.bootstrap(root, hashlib.sha256(root).hexdigest(), source)
        requester = Requester(
            site,
            device=DEVICE,
            signer=KeySigner(ec.generate_private_key(ec.SECP256R1())),
            open_down=DirectorSays(),
            clock=time,
            limits=SyncLimits(),
            similar=trust.similar,
        )
        requester.session_started(site.frame_bytes)
        loop = asyncio.get_running_loop()
        site.respond = lambda frame: loop.call_soon(requester.on_response, frame)
        registry = await Registry.open(folder / "registry", limits=RegistryLimits())
        targets, events, limits = FleetTargets(trust, requester), RecordedEvents(), UpdateLimits()
        network = Network([MqttSource(requester)], DeviceTraffic(), events, limits)
        engine = await UpdateEngine.open(
            folder / "updates.db",
            registry,
            targets=targets,
            network=network,
            nearby=[PatchSource(registry, targets, network)],
            trier=FakeTrier(),
            health=FakeHealth(),
            events=events,
            device=Roomy(),
            limits=limits,
        )
        return cls(site, registry, engine)

    async def close(self) -> None:
        """End it."""
        self._running.cancel()
        await asyncio.wait({self._running})
        await self._engine.close()
        await self._registry.close()

    async def update(self, target: TargetRef, entry: FileEntry, *adapters: TargetRef) -> Update:
        """Have the device follow a version until it is committed.

        Raises:
            UpdateFailedError: It was refused, or took too long.
        """
        self._number += 1
        self._site.reset()
        began = cpu_s()
        await self._engine.follow(*_desire(self._number, target, adapters))
        report = await self._end()
        spent_s = cpu_s() - began - self._site.cpu_s
        if report.state != "committed":
            raise UpdateFailedError(f"{target.path}: {report.state}, {report.reason}")
        traffic = self._site.traffic
        return Update(Cost(traffic.wire_bytes, spent_s), traffic, self._fetched(entry), len(entry.chunks))

    async def _end(self) -> SlotReport:
        async with asyncio.timeout(UPDATE_TIMEOUT_S):
            while True:
                report = self._engine.reports().get(CHANNEL)
                if report is not None and report.state in _ENDS and report.attempt == self._number:
                    return report
                changed = asyncio.create_task(self._engine.changed.wait())
                await asyncio.wait({changed, self._running}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if self._running.done():
                    self._running.result()
                self._engine.changed.clear()

    def _fetched(self, entry: FileEntry) -> int:
        spans = [(start, end) for sha256, start, end in self._site.spans_read if sha256 == entry.sha256]
        return sum(
            any(start < c.offset + c.length and c.offset < end for start, end in spans) for c in entry.chunks
        )

    async def check(self, ref: str, sha256: str) -> None:
        """Hold the installed file against the one that was published.

        Raises:
            UpdateFailedError: It is another.
        """
        artifact = await self._registry.find(ref)
        if await asyncio.to_thread(sha256_of, artifact.path) != sha256:
            raise UpdateFailedError(f"{ref} is not what was published")


def _desire(
    number: int, target: TargetRef, adapters: tuple[TargetRef, ...]
) -> tuple[DesiredState, GenerationMark]:
    generation = Generation(epoch=1, number=number)
    state = DesiredState(
        device=DEVICE,
        id=f"desired-{number}",
        generation=generation,
        issued_at=0,
        expires_at=1 << 40,
        minimum_versions={},
        slots={CHANNEL: DesiredSlot(target=target, attempt=number, adapters=adapters)},
    )
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return state, GenerationMark(generation=generation, sha256=digest)

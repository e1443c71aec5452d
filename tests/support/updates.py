"""Fakes of what the update engine asks for, and a world in which it runs, crashes and starts again."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from skerry_agent.registry import Disk, Registry, RegistryLimits
from skerry_agent.runtime import ModelFile
from skerry_agent.trust.errors import TargetNotYetVisibleError
from skerry_agent.updates import SourceError, TrialOutcome, UpdateEngine, UpdateLimits
from skerry_agent.updates.network import Network
from skerry_agent.updates.ports import P, RangeSource
from skerry_agent.updates.record import SlotRecord
from skerry_agent.updates.schedule import Starts
from skerry_agent.updates.sources import PatchSource
from skerry_agent.updates.store import UpdateStore
from skerry_agent.updates.table import State
from skerry_agent.updates.traffic import Traffic
from skerry_protocol.chunking import ChunkLimits, chunk_file, plan_chunks
from skerry_protocol.desired import DesiredSlot, DesiredState, TargetRef
from skerry_protocol.generation import Generation, GenerationMark
from skerry_protocol.gguf_header import read_gguf_header
from skerry_protocol.manifest import Acceptance, Chunk, FileEntry, Manifest, Variant, encode_manifest
from skerry_protocol.reported import Reason, SlotReport, SlotState
from support.fake_health import FakeHealth
from support.registry import LIMITS, RecordedEvents
from support.tiny_gguf import write_tiny_gguf

CHANNEL = "assistant/stable"
SMALL_CHUNKS = ChunkLimits(max_chunk_bytes=64 * 1024, min_chunk_bytes=4 * 1024)


class CrashError(Exception):
    """The agent was killed here."""


@dataclass(frozen=True)
class Published:
    """A model and its signed manifest."""

    data: bytes
    manifest: Manifest
    manifest_bytes: bytes

    @property
    def entry(self) -> FileEntry:
        return self.manifest.variants[0].files[0]

    @property
    def target(self) -> TargetRef:
        digest = hashlib.sha256(self.manifest_bytes).hexdigest()
        path = f"models/{self.manifest.name}/{self.manifest.version}.json"
        return TargetRef(path=path, sha256=digest, length=len(self.manifest_bytes))


def publish(
    data: bytes,
    ref: str = "smol@1",
    *,
    selector: str = "",
    base: str | None = None,
    memory_bytes: int | None = None,
    license: str | None = None,  # noqa: A002 - as the manifest
    acceptance: Acceptance = Acceptance(),  # noqa: B008 - frozen
    **facts: str,
) -> Published:
    """Describe a model file, or with the hash of a base an adapter, as the controller does."""
    name, _, version = ref.partition("@")
    header = read_gguf_header(data) if data.startswith(b"GGUF") else None
    chunked = chunk_file(data, plan_chunks(len(data), header, SMALL_CHUNKS))
    chunks = tuple(Chunk(*chunk) for chunk in chunked.chunks)
    entry = FileEntry(sha256=chunked.sha256, length=chunked.length, chunks=chunks)
    manifest = Manifest(
        name=name,
        version=version,
        kind="model" if base is None else "adapter",
        base=base,
        variants=(Variant(selector=selector, files=(entry,)),),
        memory_bytes=memory_bytes,
        license=license,
        acceptance=acceptance,
        description={**facts},
    )
    return Published(data, manifest, encode_manifest(manifest))


def make_model(folder: Path, seed: int) -> bytes:
    """The bytes of a tiny model of about 300 kB."""
    return write_tiny_gguf(folder / f"tiny-{seed}.gguf", seed=seed, blocks=1, embedding=64).read_bytes()


Wanted = Published | tuple[Published, ...]
"""A model, or a model and the adapters on it."""


def desired_slot(wanted: Wanted, attempt: int) -> DesiredSlot:
    """What a desired state says of a slot."""
    model, *adapters = wanted if isinstance(wanted, tuple) else (wanted,)
    return DesiredSlot(target=model.target, adapters=tuple(a.target for a in adapters), attempt=attempt)


def desire(
    number: int, slots: Mapping[str, Wanted], *, attempt: int = 1, epoch: int = 1
) -> tuple[DesiredState, GenerationMark]:
    """A desired state and its mark."""
    generation = Generation(epoch=epoch, number=number)
    state = DesiredState(
        device="d-" + "a" * 16,
        id=f"desired-{number}",
        generation=generation,
        issued_at=0,
        expires_at=1 << 40,
        minimum_versions={"targets": number},
        slots={name: desired_slot(wanted, attempt) for name, wanted in slots.items()},
    )
    sha256 = hashlib.sha256(f"{epoch}.{number}".encode()).hexdigest()
    return state, GenerationMark(generation=generation, sha256=sha256)


class FakeTargets:
    """Signed targets in memory. ``fail`` holds errors that the next questions raise."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.delta_refs: list[TargetRef] = []
        self.fail: list[Exception] = []
        self.asked = 0
        self.carried = 0

    @property
    def carried_bytes(self) -> int:
        return self.carried

    async def manifest(self, ref: TargetRef, minimum_versions: Mapping[str, int]) -> bytes:
        self.asked += 1
        if self.fail:
            raise self.fail.pop(0)
        if ref.path not in self.held:
            raise TargetNotYetVisibleError(f"{ref.path} is not visible yet")
        self.carried += len(self.held[ref.path])
        return self.held[ref.path]

    def deltas(self, file_sha256: str) -> list[TargetRef]:
        return [ref for ref in self.delta_refs if file_sha256 in ref.path]

    async def delta(self, ref: TargetRef) -> bytes:
        return await self.manifest(ref, {})


class MemorySource:
    """Chunks in memory, with faults.

    Attributes:
        blobs: File digest -> bytes.
        wrong: Offsets of chunks that come damaged; ``{-1}`` means all.
        down: Not reachable; ``retry_after_s`` goes with the error.
        traffic: Where it counts.
        stop_after: Ends with a SourceError after so many chunks.
        crash_after: Kills the agent after so many chunks.
        served: How often each chunk went out, by file and offset.
        hold: While set, it waits before every chunk.
    """

    def __init__(self, name: str = "net") -> None:
        self.name = name
        self.blobs: dict[str, bytes] = {}
        self.wrong: set[int] = set()
        self.down = False
        self.retry_after_s: float | None = None
        self.traffic = Traffic()
        self.stop_after: int | None = None
        self.crash_after: int | None = None
        self.served: Counter[tuple[str, int]] = Counter()
        self.hold: asyncio.Event | None = None
        self.calls = 0

    async def read(self, blob_sha256: str, pieces: Sequence[P]) -> AsyncGenerator[tuple[P, bytes], None]:
        self.calls += 1
        if self.down:
            raise SourceError(f"{self.name} is down", retry_after_s=self.retry_after_s)
        blob = self.blobs.get(blob_sha256)
        if blob is None:
            raise SourceError(f"{self.name} does not have it")
        for count, chunk in enumerate(pieces):
            if self.hold is not None:
                await self.hold.wait()
            if count == self.stop_after:
                raise SourceError(f"{self.name} stopped")
            if count == self.crash_after:
                raise CrashError
            data = blob[chunk.offset : chunk.offset + chunk.length]
            if chunk.offset in self.wrong or -1 in self.wrong:
                data = bytes([data[0] ^ 1]) + data[1:]
            self.served[blob_sha256, chunk.offset] += 1
            self.traffic.received(self.name, len(data))
            yield chunk, data


class FakeTrier:
    """Runs no model. ``outcomes`` are used up, then every trial passes."""

    def __init__(self) -> None:
        self.outcomes: list[TrialOutcome | Exception] = []
        self.tried: list[str] = []
        self.adapters: list[list[str]] = []
        self.replaced: list[str | None] = []
        self.promoted: list[str] = []
        self.discarded: list[str] = []
        self.settled = 0
        self.hold: asyncio.Event | None = None
        self.running = asyncio.Event()

    async def try_model(
        self, model: ModelFile, acceptance: Acceptance, *, replaces: ModelFile | None = None
    ) -> TrialOutcome:
        assert model.path.exists()
        self.replaced.append(None if replaces is None else replaces.sha256)
        self.tried.append(model.label)
        self.adapters.append([adapter.sha256 for adapter in model.adapters])
        self.running.set()
        if self.hold is not None:
            await self.hold.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else TrialOutcome(True, figures={"tokens_per_s": 9.0})
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def promote(self, model: ModelFile) -> None:
        self.promoted.append(model.label)

    async def settle(self) -> None:
        self.settled += 1

    async def discard(self, model: ModelFile) -> None:
        self.discarded.append(model.label)


def failed(code: str = "too_slow") -> TrialOutcome:
    """A trial that was not passed."""
    return TrialOutcome(
        passed=False, reason=Reason(code, "3 tokens/s, 5 needed"), figures={"tokens_per_s": 3.0}
    )


class FakeClock:
    """A clock that jumps over every pause; while ``stopped`` it stands, and pauses last until the event."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stopped = False
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def wait(self, event: asyncio.Event, timeout_s: float | None) -> None:
        if timeout_s is None or self.stopped:
            await event.wait()
            return
        # Others get their turn: they may set the event.
        await asyncio.sleep(0)
        if not event.is_set():
            self.pauses.append(timeout_s)
            self.now += timeout_s


class FakeDevice:
    """A device with labels and memory to choose."""

    def __init__(self) -> None:
        self.labels = {"arch": "x86_64", "site": "lab"}
        self.memory = 1 << 30

    def facts(self) -> Mapping[str, str]:
        return self.labels

    def model_memory_bytes(self, replaces: str | None) -> int:
        return self.memory

    def cpu_features(self) -> frozenset[str]:
        return frozenset({"avx2"})

    async def library_problem(self, architecture: str) -> Reason | None:
        return None if architecture == "llama" else Reason("architecture_unsupported", architecture)

    def cache_tokens(self, trained_tokens: int) -> int:
        return 2 * min(2048, trained_tokens)


@dataclass
class World:
    """Everything around one agent; what survives a crash of it is on the disk and in the fakes.

    ``before`` makes sources that are preferred to ``sources``, at each start.
    """

    folder: Path
    targets: FakeTargets = field(default_factory=FakeTargets)
    sources: list[MemorySource] = field(default_factory=lambda: [MemorySource()])
    trier: FakeTrier = field(default_factory=FakeTrier)
    device: FakeDevice = field(default_factory=FakeDevice)
    health: FakeHealth = field(default_factory=FakeHealth)
    events: RecordedEvents = field(default_factory=RecordedEvents)
    clock: FakeClock = field(default_factory=FakeClock)
    limits: UpdateLimits = field(default_factory=lambda: UpdateLimits(progress_s=0.0))
    registry_limits: RegistryLimits = LIMITS
    activation_delay_s: Callable[[], float] = lambda: 0.0
    closed_s: Callable[[], float] = lambda: 0.0
    spread_s: float = 0.0
    disk: Disk = field(default_factory=Disk)
    traffic: Traffic = field(default_factory=Traffic)
    before: Callable[[], Sequence[RangeSource]] = tuple
    states: list[State] = field(default_factory=list)
    crash_at_store: int | None = None
    _stores: int = 0
    _left: list[tuple[UpdateEngine, Registry]] = field(default_factory=list)

    async def start(self) -> Self:
        """Start the agent: open registry and engine, and run it."""
        self.registry = await Registry.open(
            self.folder / "registry", limits=self.registry_limits, events=self.events, disk=self.disk
        )
        for source in self.sources:
            source.traffic = self.traffic
        sources = [*self.before(), *self.sources]
        network = Network(sources, self.traffic, self.events, self.limits, lambda: self.closed_s())  # noqa: PLW0108 - tests change it
        self.engine = await UpdateEngine.open(
            self.folder / "updates.db",
            self.registry,
            targets=self.targets,
            network=network,
            trier=self.trier,
            events=self.events,
            device=self.device,
            health=self.health,
            clock=self.clock,
            limits=self.limits,
            uniform=lambda: 1.0,
            activation_delay_s=self.activation_delay_s,
            starts=Starts(lambda: self.spread_s, "d-" + "a" * 16, self.clock.monotonic),
            wall=self.clock.monotonic,
            nearby=[PatchSource(self.registry, self.targets, network)],
        )
        self._left.append((self.engine, self.registry))
        self._spy(self.engine._store)
        self.task = asyncio.create_task(self.engine.run(), name="engine")
        return self

    def publish(self, published: Published) -> Published:
        """Make a model visible and available."""
        self.targets.held[published.target.path] = published.manifest_bytes
        for source in self.sources:
            source.blobs[published.entry.sha256] = published.data
        return published

    async def follow(self, number: int, slots: Mapping[str, Wanted], *, attempt: int = 1) -> None:
        """Hand a desired state to the engine."""
        await self.engine.follow(*desire(number, slots, attempt=attempt))

    async def until(self, *states: SlotState, slot: str = CHANNEL) -> SlotReport:
        """Wait for one of the states.

        Raises:
            CrashError: The agent was killed meanwhile.
        """
        return await self.until_true(lambda report: report.state in states, slot=slot)

    async def until_true(self, condition: Callable[[SlotReport], bool], *, slot: str = CHANNEL) -> SlotReport:
        """Wait until a slot's report meets a condition."""
        async with asyncio.timeout(20):
            while True:
                report = self.engine.reports().get(slot)
                if report is not None and condition(report):
                    return report
                if self.task.done():
                    self.task.result()
                changed = asyncio.create_task(self.engine.changed.wait())
                await asyncio.wait({changed, self.task}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                self.engine.changed.clear()

    async def settled(
        self, states: Sequence[SlotState] = ("committed", "rolled_back", "refused")
    ) -> SlotReport:
        """Wait for an end."""
        return await self.until(*states)

    async def crash(self) -> None:
        """Walk away from the agent as it is."""
        self.task.cancel()
        await asyncio.wait({self.task})
        self.crash_at_store = None

    async def restart(self) -> Self:
        """Crash, and start again."""
        await self.crash()
        return await self.start()

    async def close(self) -> None:
        """End everything that was ever started."""
        if self._left:
            await self.crash()
        for engine, registry in self._left:
            await engine.close()
            await registry.close()

    def _spy(self, store: UpdateStore) -> None:
        real = store.put_record

        async def put_record(record: SlotRecord, **more: Any) -> None:
            self._stores += 1
            if self.crash_at_store == self._stores:
                raise CrashError
            await real(record, **more)
            if not self.states or self.states[-1] != record.state:
                self.states.append(record.state)
            if self.crash_at_store == -self._stores:
                raise CrashError

        store.put_record = put_record  # type: ignore[method-assign]

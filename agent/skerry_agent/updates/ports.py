"""What the engine needs of the world, as narrow protocols. ``tests/support/updates.py`` has fakes of each."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from skerry_agent.errors import WorldError
from skerry_agent.runtime import HealthCounts, ModelFile
from skerry_protocol.desired import TargetRef
from skerry_protocol.manifest import Acceptance, Chunk
from skerry_protocol.reported import Reason


class SourceError(WorldError):
    """A source of chunks cannot go on: not reachable, does not have the file, or answers nonsense.

    Attributes:
        retry_after_s: It is not to be asked again before; None where that is not known.
    """

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TargetSource(Protocol):
    """Signed targets (``skerry_agent.trust.FleetTargets``)."""

    @property
    def carried_bytes(self) -> int:
        """Bytes that ever came over a network for them, as they were carried."""

    async def manifest(self, ref: TargetRef, minimum_versions: Mapping[str, int]) -> bytes:
        """The verified bytes of a target.

        Raises:
            TargetNotYetVisibleError: Not visible yet; try again later.
            TargetRefusedError: It is not what the fleet's keys signed; trying again does not help.
            WorldError: The repository cannot be reached now.
        """


class Piece(Protocol):
    """Bytes of a blob that are wanted whole: a ``Chunk``, or any hashable value with these two."""

    @property
    def offset(self) -> int:
        """First byte in the blob."""

    @property
    def length(self) -> int:
        """Bytes."""


P = TypeVar("P", bound=Piece)


class RangeSource(Protocol):
    """Somewhere on a network that bytes of blobs come from. Never trusted."""

    @property
    def name(self) -> str:
        """Short name for events and logs, such as ``http``."""

    def read(self, blob_sha256: str, pieces: Sequence[P]) -> AsyncGenerator[tuple[P, bytes], None]:
        """Yield pieces of the blob with this SHA-256, each whole, in any order.

        Raises:
            SourceError: It cannot go on. Other ``AgentError``s are taken the same way.
        """


class ChunkSource(Protocol):
    """Somewhere that chunks come from. Never trusted: whoever takes them checks each one's hash."""

    @property
    def name(self) -> str:
        """Short name for events and logs, such as ``http``."""

    def fetch(self, file_sha256: str, chunks: Sequence[Chunk]) -> AsyncGenerator[tuple[Chunk, bytes], None]:
        """Yield chunks of a file, in any order; ending early means that the rest is not here.

        Raises:
            SourceError: It cannot go on. Other ``AgentError``s are taken the same way.
        """


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """What a trial found.

    Attributes:
        reason: Why it was not passed.
        figures: Measured values, such as ``tokens_per_s``.
    """

    passed: bool
    reason: Reason | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


class Trier(Protocol):
    """Tries a model in a runner of its own."""

    async def try_model(
        self, model: ModelFile, acceptance: Acceptance, *, replaces: ModelFile | None = None
    ) -> TrialOutcome:
        """Load the model beside the serving one and run the acceptance checks; the runner stays warm.

        ``replaces`` is what serves in the slot now: it is what a perplexity is compared with, and where
        memory does not allow both, it is unloaded until ``promote`` or ``discard``.

        A crash or a failed load is an outcome, not an exception. Cancelling it must leave nothing running
        that ``discard`` does not end.
        """

    async def promote(self, model: ModelFile) -> None:
        """Let the model that passed serve. After a restart there may be no warm runner: then do nothing.

        The one before stays loaded for now, as far as memory allows.
        """

    async def settle(self) -> None:
        """It is decided which version stays: let runners drain that no slot serves any more."""

    async def discard(self, model: ModelFile) -> None:
        """End the candidate's runner, if there is one."""


class HealthView(Protocol):
    """How models fare with real requests, and the device with them."""

    def counts(self, file_sha256: str) -> HealthCounts:
        """What was counted of a model file since the agent started."""

    def celsius(self) -> float | None:
        """The device's temperature now; None where no sensor tells it."""


class DeviceView(Protocol):
    """Facts of this device that decide on variants and fit."""

    def facts(self) -> Mapping[str, str]:
        """What the machine is, in the words of selectors (``skerry_protocol.device_facts``)."""

    def model_memory_bytes(self, replaces: str | None) -> int:
        """Memory that a model could have in the place of this digest, with all unloaded that may be."""

    def cpu_features(self) -> frozenset[str]:
        """Flags that the kernel gives the processor in ``/proc/cpuinfo``."""

    async def library_problem(self, architecture: str) -> Reason | None:
        """Why this device's llama.cpp cannot run a model of an architecture; None when it may."""

    def cache_tokens(self, trained_tokens: int) -> int:
        """Cells of the KV cache of a model that was trained for so many tokens."""


class Clock(Protocol):
    """Time that passes, for pauses and deadlines between steps."""

    def monotonic(self) -> float:
        """Seconds since some moment."""

    async def wait(self, event: asyncio.Event, timeout_s: float | None) -> None:
        """Return when the event is set, or after ``timeout_s`` seconds; None waits for ever."""


class SystemClock:
    """The real clock."""

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, timeout_s: float | None) -> None:
        """Return when the event is set, or after ``timeout_s`` seconds; None waits for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await event.wait()

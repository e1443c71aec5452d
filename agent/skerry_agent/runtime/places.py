"""What the pool knows of each digest: its runner, the leases on it, and how its runners fared."""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from skerry_agent.runtime.crash_policy import CrashHistory
from skerry_agent.runtime.memory_budget import Demand, Holder, HolderState, model_value
from skerry_agent.runtime.memory_need import Holding
from skerry_agent.runtime.meter import UnloadReason
from skerry_agent.runtime.model import ModelFile, ModelStatus, RunnerRole, RunnerState, RuntimeLimits
from skerry_agent.runtime.requests import AdapterFile
from skerry_agent.runtime.runner import Runner
from skerry_protocol.model_description import MemoryNeed


class Loaded:
    """A runner with the leases on it.

    Attributes:
        holding: What it holds of the memory.
        keep_alive_s: What the last request that said so wants; None for the setting.
        unload_at: When it will be unloaded if nobody uses it, a monotonic time in seconds.
        load_s: How long it took to load, in seconds.
        held: For a candidate: the places that wait until its trial is over.
    """

    def __init__(self, runner: Runner, need: MemoryNeed, *, load_s: float) -> None:
        self.runner = runner
        self.holding = Holding(need)
        self.load_s = load_s
        self.leases = 0
        self.last_used = 0.0
        self.keep_alive_s: float | None = None
        self.unload_at: float | None = None
        self.held: list[Place] = []
        self.unused = asyncio.Event()
        self.unused.set()
        self._unload_timer: asyncio.TimerHandle | None = None

    def take(self, keep_alive_s: float | None, adapters: Iterable[AdapterFile] = ()) -> None:
        """Begin a lease, whose requests bring adapters along."""
        self.holding.expect(adapters)
        self.leases += 1
        self.unused.clear()
        if keep_alive_s is not None:
            self.keep_alive_s = keep_alive_s
        self.unload_with(None)

    def give_back(self, now: float) -> None:
        """End a lease at a monotonic time in seconds."""
        self.leases -= 1
        self.last_used = now
        if self.leases == 0:
            self.unused.set()

    def unload_with(self, timer: asyncio.TimerHandle | None, at: float | None = None) -> None:
        """Take the timer that will unload it for being unused, in place of the one before."""
        if self._unload_timer is not None:
            self._unload_timer.cancel()
        self._unload_timer = timer
        self.unload_at = at


class Place:
    """One digest.

    Attributes:
        loaded: Its serving runner.
        loading: The task that loads it; all leases wait for the same one.
        need: What it was predicted to need when it was last looked at.
        loading_pid: The process into which it is loaded.
        reserved: The task has room and makes the runner now.
        waiters: Requests that wait for the task.
        crashed: The last runner crashed or did not load, and no other was started since.
        out_of_service: It crashed too often, and no runner was started since.
        served: It was loaded at least once.
        refusal: Why it was not loaded, when there was no room.
    """

    def __init__(self, model: ModelFile, limits: RuntimeLimits) -> None:
        self.model = model
        self.loaded: Loaded | None = None
        self.loading: asyncio.Task[None] | None = None
        self.need: MemoryNeed | None = None
        self.reserved = False
        self.waiters = 0
        self.crashed = False
        self.out_of_service = False
        self.served = False
        self.restarts = 0
        self.refusal: str | None = None
        self.pinned = False
        self.loading_pid: int | None = None
        self.demand = Demand()
        self.history = CrashHistory(limits)
        self.open = asyncio.Event()
        self.open.set()
        self.retry: asyncio.TimerHandle | None = None
        self._holds = 0

    def spawned(self, pid: int) -> None:
        """Its process was started."""
        self.loading_pid = pid

    def hold_back(self) -> None:
        """Let new requests wait until as many calls of ``let_in``."""
        self._holds += 1
        self.open.clear()

    def let_in(self) -> None:
        """Undo one ``hold_back``."""
        self._holds -= 1
        if self._holds == 0:
            self.open.set()

    def retry_with(self, timer: asyncio.TimerHandle | None) -> None:
        """Take the timer that will try it again, in place of the one before."""
        if self.retry is not None:
            self.retry.cancel()
        self.retry = timer

    def holder(self, now: float, *, replaced: bool = False) -> Holder | None:
        """How it stands in the budget; None when it holds nothing.

        Args:
            now: A monotonic time in seconds.
            replaced: It is on the way out: it may be unloaded although it is pinned, but others first.
        """
        key = self.model.sha256
        if self.loaded is None:
            size = self.need.total_bytes if self.need else 0
            return Holder(key, size, "passing") if self.reserved else None
        state: HolderState = "idle"
        if replaced:
            state = "idle"  # its requests may finish while it drains
        elif self.pinned:
            state = "fixed"
        elif self.loaded.leases or self.waiters:
            state = "busy"
        return Holder(
            key,
            self.loaded.holding.bytes,
            state,
            value=model_value(load_s=self.loaded.load_s, demand=self.demand.at(now)),
            last_used=self.loaded.last_used,
            last=replaced,
        )

    def status(self, now: float, load_fraction: float | None = None) -> ModelStatus | None:
        """How it stands; None when it is merely unloaded."""
        if self.loaded is not None:
            return runner_status(
                self.loaded,
                "serving",
                now=now,
                restarts=self.restarts,
                last_error=self.history.last_error,
                pinned=self.pinned,
            )
        state: RunnerState
        if self.out_of_service:
            state = "out_of_service"
        elif self.loading is not None:
            state = "loading" if self.reserved else "queued"
        elif self.crashed:
            state = "crashed"
        elif self.pinned or not self.open.is_set():
            state = "unloaded"
        else:
            return None
        need = self.need.total_bytes if self.need else 0
        return ModelStatus(
            sha256=self.model.sha256,
            label=self.model.label,
            state=state,
            role="serving",
            pid=None,
            rss_bytes=0,
            restarts=self.restarts,
            queue_depth=0,
            in_flight=0,
            info=None,
            last_error=self.history.last_error or self.refusal,
            memory_bytes=need if self.reserved else 0,
            predicted_bytes=need,
            pinned=self.pinned,
            retry_after_s=self.history.out_of_service_s(now),
            load_fraction=load_fraction,
        )


@dataclass(slots=True)
class Claim:
    """A model that wants room.

    Attributes:
        label: What people call it.
        need: What it will hold.
        promise: Called at the moment at which it gets the room.
        counts: Whether it counts towards ``max_loaded``.
        unload: Asked each time: whether others may be unloaded for it.
        reason: As what that is counted.
        replaces: The digest that it is to replace: unloaded when others are not enough, though it be pinned.
        kept: The replaced place, once it was unloaded: it takes no requests until it is let in again.
    """

    label: str
    need: MemoryNeed
    promise: Callable[[], None]
    counts: bool = True
    unload: Callable[[], bool] = lambda: True
    reason: UnloadReason = "for_model"
    replaces: str | None = None
    kept: list[Place] = field(default_factory=list)


def keeps_for_ever(keep_alive_s: float) -> bool:
    """Whether a keep-alive time means for ever: negative, or infinite."""
    return keep_alive_s < 0 or math.isinf(keep_alive_s)


def runner_status(
    loaded: Loaded,
    role: RunnerRole,
    *,
    now: float,
    restarts: int = 0,
    last_error: str | None = None,
    pinned: bool = False,
) -> ModelStatus:
    """How a runner stands."""
    runner = loaded.runner
    left = None if loaded.unload_at is None else max(0.0, loaded.unload_at - now)
    return ModelStatus(
        sha256=runner.model.sha256,
        label=runner.model.label,
        state="ready" if runner.alive else "crashed",
        role=role,
        pid=runner.pid if runner.alive else None,
        rss_bytes=runner.rss_bytes,
        restarts=restarts,
        queue_depth=runner.queue_depth,
        in_flight=runner.in_flight,
        info=runner.info,
        last_error=last_error,
        engine=runner.engine,
        memory_bytes=loaded.holding.bytes,
        predicted_bytes=loaded.holding.need.total_bytes,
        measured_bytes=loaded.holding.measured_bytes,
        keep_alive_left_s=left,
        pinned=pinned,
        leases=loaded.leases,
    )

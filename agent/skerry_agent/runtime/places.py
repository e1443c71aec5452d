"""What the pool knows of each digest: its runner, the leases on it, and how its runners fared."""

import asyncio

from skerry_agent.runtime.crash_policy import CrashHistory
from skerry_agent.runtime.model import ModelFile, ModelStatus, RunnerRole, RunnerState, RuntimeLimits
from skerry_agent.runtime.runner import Runner


class Loaded:
    """A runner with the leases on it."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.leases = 0
        self.last_used = 0.0
        self.unused = asyncio.Event()
        self.unused.set()
        self._unload_timer: asyncio.TimerHandle | None = None

    def take(self) -> None:
        """Begin a lease."""
        self.leases += 1
        self.unused.clear()
        self.unload_with(None)

    def give_back(self, now: float) -> None:
        """End a lease at a monotonic time in seconds."""
        self.leases -= 1
        self.last_used = now
        if self.leases == 0:
            self.unused.set()

    def unload_with(self, timer: asyncio.TimerHandle | None) -> None:
        """Take the timer that will unload it for being unused, in place of the one before."""
        if self._unload_timer is not None:
            self._unload_timer.cancel()
        self._unload_timer = timer


class Place:
    """One digest.

    Attributes:
        loaded: Its serving runner.
        loading: The task that loads it; all leases wait for the same one.
        reserved: The task has room and makes the runner now.
        crashed: The last runner crashed or did not load, and no other was started since.
    """

    def __init__(self, model: ModelFile, limits: RuntimeLimits) -> None:
        self.model = model
        self.loaded: Loaded | None = None
        self.loading: asyncio.Task[None] | None = None
        self.reserved = False
        self.crashed = False
        self.restarts = 0
        self.history = CrashHistory(limits)

    @property
    def holds_memory(self) -> bool:
        """Whether it counts towards ``max_loaded``."""
        return self.loaded is not None or self.reserved

    def status(self, now: float) -> ModelStatus | None:
        """How it stands; None when it is merely unloaded."""
        if self.loaded is not None:
            return runner_status(
                self.loaded.runner,
                "serving",
                restarts=self.restarts,
                last_error=self.history.last_error,
            )
        state: RunnerState
        if self.history.out_of_service_s(now) > 0:
            state = "out_of_service"
        elif self.loading is not None:
            state = "loading"
        elif self.crashed:
            state = "crashed"
        else:
            return None
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
            last_error=self.history.last_error,
        )


def runner_status(
    runner: Runner, role: RunnerRole, *, restarts: int = 0, last_error: str | None = None
) -> ModelStatus:
    """How a runner stands."""
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
    )

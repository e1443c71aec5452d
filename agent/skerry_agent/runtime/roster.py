"""Which runners there are, and how they leave."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from skerry_agent.runtime.meter import Meter, UnloadReason
from skerry_agent.runtime.model import RuntimeLimits
from skerry_agent.runtime.places import Claim, Loaded, Place, keeps_for_ever

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Roster:
    """All runners of a pool, and those that are promised room.

    Args:
        limits: Bounds and deadlines.
        clock: Monotonic time in seconds.
        meter: Where to count.

    Attributes:
        places: What serves or may serve, by digest.
        candidates: On trial.
        claims: Candidates that have room and are being started.
        draining: Not leased any more; each goes when its requests have ended.
        changed: Set whenever memory may have become free.
        closed: Nothing is started any more.
    """

    def __init__(self, *, limits: RuntimeLimits, clock: Callable[[], float], meter: Meter) -> None:
        self._limits = limits
        self._clock = clock
        self._meter = meter
        # What the pool does by itself belongs to no request: its log lines must not carry a request's id.
        self._context = contextvars.copy_context()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.places: dict[str, Place] = {}
        self.candidates: list[Loaded] = []
        self.claims: list[Claim] = []
        self.draining: list[Loaded] = []
        self.changed = asyncio.Event()
        self.closed = False

    def all(self) -> list[Loaded]:
        """Everything that has a process."""
        serving = [place.loaded for place in self.places.values() if place.loaded is not None]
        return [*serving, *self.candidates, *self.draining]

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Do something that belongs to the pool and to no request."""
        task = asyncio.create_task(work, name=name, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def unload(self, place: Place, reason: UnloadReason) -> asyncio.Task[None] | None:
        """End a place's runner when its requests have ended; the task is done when the process is gone."""
        loaded, place.loaded = place.loaded, None
        return None if loaded is None else self.let_go(loaded, reason)

    def let_go(self, loaded: Loaded, reason: UnloadReason) -> asyncio.Task[None]:
        """The same for a runner that has no place any more."""
        loaded.unload_with(None)
        self.draining.append(loaded)
        self._meter.unloads[reason] += 1
        log.info("model_unloaded", model=loaded.runner.model.label, reason=reason, pid=loaded.runner.pid)
        return self.spawn(self._drain(loaded), f"drain-{loaded.runner.pid}")

    def plan_unload(self, place: Place, loaded: Loaded) -> None:
        """Start the time after which a runner that nobody uses is unloaded; at once when that time is 0."""
        if loaded.leases or place.waiters or place.pinned or place.loaded is not loaded or self.closed:
            return
        wanted = self._limits.keep_alive_s if loaded.keep_alive_s is None else loaded.keep_alive_s
        loaded.unload_with(None)
        if keeps_for_ever(wanted):
            return
        if wanted == 0:
            self.unload(place, "unused" if loaded.keep_alive_s is None else "requested")
            return
        timer = asyncio.get_running_loop().call_later(wanted, self._unload_unused, place, loaded)
        loaded.unload_with(timer, self._clock() + wanted)

    def _unload_unused(self, place: Place, loaded: Loaded) -> None:
        if place.loaded is loaded and not loaded.leases and not self.closed:
            self.unload(place, "unused")

    async def _drain(self, loaded: Loaded) -> None:
        try:
            async with asyncio.timeout(self._limits.drain_timeout_s):
                await loaded.unused.wait()
        except TimeoutError:
            log.warning("drain_timed_out", model=loaded.runner.model.label, leases=loaded.leases)
        await loaded.runner.stop()
        # Not in a finally: one whose drain was cancelled is left for close to stop.
        if loaded in self.draining:
            self.draining.remove(loaded)
        self.changed.set()

    async def close(self) -> None:
        """End all runners and tasks. Again is fine."""
        self.closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for place in self.places.values():
            place.retry_with(None)
            place.open.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        everything = self.all()
        self.places.clear()
        self.candidates.clear()
        self.draining.clear()
        for loaded in everything:
            loaded.unload_with(None)
        await asyncio.gather(*(loaded.runner.stop() for loaded in everything))

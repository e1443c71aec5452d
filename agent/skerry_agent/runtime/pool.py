"""Which models are loaded: the runtime's door for the local API and for updates."""

import asyncio
import contextlib
import contextvars
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from skerry_agent.runtime.errors import (
    ModelLoadError,
    ModelOutOfServiceError,
    ModelUnavailableError,
    RunnerCrashedError,
)
from skerry_agent.runtime.meter import Meter
from skerry_agent.runtime.model import ModelFile, ModelStatus, RunnerOptions, RuntimeLimits, RuntimeMetrics
from skerry_agent.runtime.places import Loaded, Place, runner_status
from skerry_agent.runtime.runner import Runner
from skerry_protocol.errors import ModelFileError

log = structlog.get_logger(__name__)

T = TypeVar("T")


class StartRunner(Protocol):
    """Starts a runner; ``Runner.start`` is the real one."""

    async def __call__(
        self, model: ModelFile, *, options: RunnerOptions, limits: RuntimeLimits, meter: Meter
    ) -> Runner:
        """Start it, or raise ModelLoadError."""


class ModelPool:
    """Holds runners, keyed by the SHA-256 of their model file. Belongs to one event loop.

    Args:
        check_header: Our own look at the file before llama.cpp sees it; raises
            ``skerry_protocol.errors.ModelFileError`` for what must not be loaded. Runs in a thread.
        options: How runners run their models.
        limits: Bounds and deadlines.
        start_runner: ``Runner.start`` by default.
        clock: Monotonic time in seconds.
        on_crash: Told of every serving runner that ended by itself, and what is known of it.
    """

    def __init__(
        self,
        *,
        check_header: Callable[[Path], object],
        options: RunnerOptions | None = None,
        limits: RuntimeLimits | None = None,
        start_runner: StartRunner | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_crash: Callable[[ModelFile, RunnerCrashedError], None] | None = None,
    ) -> None:
        self._check_header = check_header
        self._options = options or RunnerOptions()
        self._limits = limits or RuntimeLimits()
        self._start_runner: StartRunner = start_runner or Runner.start
        self._clock = clock
        self._on_crash = on_crash
        # What the pool does by itself belongs to no request: its log lines must not carry a request's id.
        self._context = contextvars.copy_context()
        self._meter = Meter()
        self._places: dict[str, Place] = {}
        self._candidates: list[Loaded] = []
        self._draining: list[Loaded] = []
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @contextlib.asynccontextmanager
    async def lease(self, model: ModelFile) -> AsyncGenerator[Runner, None]:
        """Lend the runner of a model, loading it when it is not; it is not unloaded while lent.

        Raises (on entering):
            ModelLoadError: The file was refused or did not load.
            ModelOutOfServiceError: It crashed too often lately.
            ModelUnavailableError: The pool is closing, or other models hold all places.
        """
        place, loaded = await self._take(model)
        try:
            yield loaded.runner
        finally:
            loaded.give_back(self._clock())
            self._plan_unload(place, loaded)
            self._changed.set()

    async def trial(self, model: ModelFile) -> Runner:
        """Start a candidate runner beside the serving ones, always a new process.

        End it with ``promote`` or ``discard``.

        Raises:
            ModelLoadError: The file was refused or did not load.
            ModelUnavailableError: The pool is closing.
        """
        task = self._spawn(self._start_candidate(model), f"trial-{model.label}")
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if not task.cancel() and task.exception() is None:
                self._spawn(self.discard(task.result()), f"discard-{model.label}")
            raise
        if task.cancelled():
            raise _closing(model)
        return task.result()

    async def promote(self, candidate: Runner) -> None:
        """Make a candidate the serving runner of its digest, without loading again.

        An older runner of the same digest drains in the background.

        Raises:
            ModelUnavailableError: The candidate died; it is discarded.
        """
        loaded = self._candidate(candidate)
        if not candidate.alive:
            await self.discard(candidate)
            raise ModelUnavailableError(f"{candidate.model.label} cannot be activated: its runner has ended")
        self._candidates.remove(loaded)
        place = self._place(candidate.model)
        if place.loading is not None:
            place.loading.cancel()  # those who wait for it find the candidate
        place.history.clear()
        self._serve(place, loaded)

    async def discard(self, candidate: Runner) -> None:
        """End a candidate that failed its trial."""
        self._candidates.remove(self._candidate(candidate))
        await candidate.stop()

    async def retire(self, sha256: str) -> None:
        """Drain and end the serving runner of a digest; its requests may finish within ``drain_timeout_s``.

        Returns when the process is gone. A lease that comes meanwhile starts a new runner.
        Nothing to retire is fine.
        """
        place = self._places.pop(sha256, None)
        if place is None:
            return
        if place.loading is not None:
            place.loading.cancel()
            await asyncio.wait({place.loading})
        loaded, place.loaded = place.loaded, None
        if loaded is not None:
            await self._drain(loaded)

    def status(self) -> list[ModelStatus]:
        """What is loaded, loading, crashed or out of service, now."""
        now = self._clock()
        serving = [place.status(now) for place in self._places.values()]
        return [
            *(status for status in serving if status is not None),
            *(runner_status(loaded.runner, "candidate") for loaded in self._candidates),
            *(runner_status(loaded.runner, "draining") for loaded in self._draining),
        ]

    def metrics(self) -> RuntimeMetrics:
        """Counters and figures over all models."""
        runners = [loaded.runner for loaded in self._all()]
        return self._meter.metrics(
            queue_depth=sum(runner.queue_depth for runner in runners),
            in_flight=sum(runner.in_flight for runner in runners),
        )

    async def aclose(self) -> None:
        """End all runners; leases from now on raise ``ModelUnavailableError``. Again is fine."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        everything = self._all()
        self._places.clear()
        self._candidates.clear()
        self._draining.clear()
        for loaded in everything:
            loaded.unload_with(None)
        await asyncio.gather(*(loaded.runner.stop() for loaded in everything))

    async def _take(self, model: ModelFile) -> tuple[Place, Loaded]:
        while True:
            place = self._place(model)
            if place.loaded is not None and place.loaded.runner.alive:
                place.loaded.take()
                return place, place.loaded
            # The pool owns the load: when this caller gives up, the next one finds it further on.
            task = place.loading or self._begin_load(place)
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _place(self, model: ModelFile) -> Place:
        if self._closed:
            raise _closing(model)
        place = self._places.get(model.sha256)
        if place is None:
            place = self._places[model.sha256] = Place(model, self._limits)
        return place

    def _begin_load(self, place: Place) -> asyncio.Task[None]:
        def done(task: asyncio.Task[None]) -> None:
            place.loading = None
            place.reserved = False
            self._changed.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("model_load_failed", model=place.model.label, error=str(error))

        place.loading = self._spawn(self._load(place), f"load-{place.model.label}")
        place.loading.add_done_callback(done)
        return place.loading

    async def _load(self, place: Place) -> None:
        now = self._clock()
        if (out := place.history.out_of_service_s(now)) > 0:
            raise ModelOutOfServiceError(
                f"{place.model.label} is out of service, since it failed {self._limits.max_crashes} times"
                f" within {self._limits.crash_window_s:g} s; it is tried again in {out:.0f} s."
                f" The last failure: {place.history.last_error}",
                retry_after_s=out,
            )
        await asyncio.sleep(place.history.pause_s(now))
        await self._make_room(place)
        try:
            runner = await self._start(place.model)
        except ModelLoadError as error:
            place.crashed = True
            place.history.record(self._clock(), str(error))
            raise
        if place.crashed:
            place.restarts += 1
        self._serve(place, Loaded(runner))

    async def _make_room(self, place: Place) -> None:
        """Unload what nobody uses, the longest unused first, or wait until somebody has done."""
        try:
            async with asyncio.timeout(self._limits.load_timeout_s):
                while self._others_loaded(place) >= self._limits.max_loaded:
                    self._changed.clear()
                    idle = [p for p in self._places.values() if p.loaded is not None and not p.loaded.leases]
                    if not idle:
                        await self._changed.wait()
                        continue
                    oldest = min(idle, key=_last_used)
                    loaded, oldest.loaded = oldest.loaded, None
                    if loaded is not None:
                        await self._drain(loaded)
        except TimeoutError as error:
            raise ModelUnavailableError(
                f"{place.model.label} cannot be loaded: other models were busy for"
                f" {self._limits.load_timeout_s:g} s; try again, or raise max_loaded"
            ) from error
        place.reserved = True

    def _others_loaded(self, place: Place) -> int:
        return sum(p.holds_memory for p in self._places.values() if p is not place)

    async def _start(self, model: ModelFile) -> Runner:
        if self._closed:
            raise _closing(model)
        try:
            await asyncio.to_thread(self._check_header, model.path)
        except ModelFileError as error:
            raise ModelLoadError(f"{model.label} is refused: {error}") from error
        except OSError as error:
            raise ModelLoadError(f"{model.label} cannot be read: {error}") from error
        return await self._start_runner(model, options=self._options, limits=self._limits, meter=self._meter)

    async def _start_candidate(self, model: ModelFile) -> Runner:
        runner = await self._start(model)
        self._candidates.append(Loaded(runner))
        return runner

    def _serve(self, place: Place, loaded: Loaded) -> None:
        """Make a runner the one that serves a digest; the one before drains in the background."""
        if place.loaded is not None:
            self._spawn(self._drain(place.loaded), f"drain-{place.loaded.runner.pid}")
        place.model = loaded.runner.model
        place.loaded = loaded
        place.crashed = False
        loaded.last_used = self._clock()
        loaded.runner.exited.add_done_callback(lambda _: self._on_exit(place, loaded))
        self._plan_unload(place, loaded)
        self._changed.set()

    def _on_exit(self, place: Place, loaded: Loaded) -> None:
        if not loaded.runner.crashed:
            return
        self._meter.crashes += 1
        error = loaded.runner.crash_error()
        place.history.record(self._clock(), str(error))
        if self._on_crash is not None:
            self._on_crash(loaded.runner.model, error)
        loaded.unload_with(None)
        if place.loaded is not loaded:
            return
        place.loaded = None
        place.crashed = True
        self._changed.set()
        # Warm again for the next request, but not at the cost of another model. The history bounds how often,
        # and how soon.
        if (
            not self._closed
            and place.loading is None
            and self._others_loaded(place) < self._limits.max_loaded
        ):
            self._begin_load(place)

    def _plan_unload(self, place: Place, loaded: Loaded) -> None:
        wanted = self._limits.keep_alive_s
        if wanted <= 0 or loaded.leases or place.loaded is not loaded or self._closed:
            return
        loop = asyncio.get_running_loop()
        loaded.unload_with(loop.call_later(wanted, self._unload, place, loaded))

    def _unload(self, place: Place, loaded: Loaded) -> None:
        if place.loaded is not loaded or loaded.leases or self._closed:
            return
        log.info("model_unloaded", model=place.model.label, unused_s=self._limits.keep_alive_s)
        place.loaded = None
        self._spawn(self._drain(loaded), f"unload-{loaded.runner.pid}")

    async def _drain(self, loaded: Loaded) -> None:
        loaded.unload_with(None)
        self._draining.append(loaded)
        try:
            async with asyncio.timeout(self._limits.drain_timeout_s):
                await loaded.unused.wait()
        except TimeoutError:
            log.warning("drain_timed_out", model=loaded.runner.model.label, leases=loaded.leases)
        await loaded.runner.stop()
        # Not in a finally: one whose drain was cancelled is left for aclose to stop.
        if loaded in self._draining:
            self._draining.remove(loaded)

    def _candidate(self, runner: Runner) -> Loaded:
        for loaded in self._candidates:
            if loaded.runner is runner:
                return loaded
        raise ValueError("this runner is no candidate of this pool")

    def _all(self) -> list[Loaded]:
        serving = [place.loaded for place in self._places.values() if place.loaded is not None]
        return [*serving, *self._candidates, *self._draining]

    def _spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=name, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _last_used(place: Place) -> float:
    return place.loaded.last_used if place.loaded is not None else 0.0


def _closing(model: ModelFile) -> ModelUnavailableError:
    return ModelUnavailableError(f"{model.label} is not available: it is being shut down or was retired")

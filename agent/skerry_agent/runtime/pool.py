"""Which models are loaded: the runtime's door for the local API and for updates."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path

import structlog

from skerry_agent.runtime.candidates import Candidates
from skerry_agent.runtime.errors import (
    ModelLoadError,
    ModelOutOfServiceError,
    ModelUnavailableError,
    NotEnoughMemoryError,
    RunnerCrashedError,
)
from skerry_agent.runtime.health import HealthCounts
from skerry_agent.runtime.loader import FindDraft, Loader, StartRunner
from skerry_agent.runtime.meter import Meter
from skerry_agent.runtime.model import ModelFile, ModelStatus, RunnerOptions, RuntimeLimits, RuntimeMetrics
from skerry_agent.runtime.places import Claim, Loaded, Place, runner_status
from skerry_agent.runtime.room import Room
from skerry_agent.runtime.roster import Roster
from skerry_agent.runtime.runner import Runner
from skerry_agent.runtime.service_watch import OnRuntimeEvent, ServiceWatch
from skerry_agent.runtime.system_memory import ProcessMemory, available_bytes, process_memory

log = structlog.get_logger(__name__)


class ModelPool:
    """Holds runners, keyed by the SHA-256 of their model file. Belongs to one event loop.

    Args:
        check_header: Our own look at the file before llama.cpp sees it; raises
            ``skerry_protocol.errors.ModelFileError`` for what must not be loaded, and returns the
            ModelDescription from which the memory need is predicted. Runs in a thread.
        options: How runners run their models.
        limits: Bounds and deadlines.
        start_runner: ``Runner.start`` by default.
        find_draft: Says which smaller model guesses tokens for a model; None for none.
        clock: Monotonic time in seconds.
        on_event: Told of runners that ended by themselves, and of models that go out of service and back.
        available: Memory that a program can have now, in bytes; None when that is not known.
        measure: What a process holds, by its id.
    """

    def __init__(
        self,
        *,
        check_header: Callable[[Path], object],
        options: RunnerOptions | None = None,
        limits: RuntimeLimits | None = None,
        start_runner: StartRunner | None = None,
        find_draft: FindDraft | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_event: OnRuntimeEvent | None = None,
        available: Callable[[], int | None] = available_bytes,
        measure: Callable[[int], ProcessMemory] = process_memory,
    ) -> None:
        self._limits = limits or RuntimeLimits()
        self._clock = clock
        self._meter = Meter()
        self._loader = Loader(
            check_header,
            options=options or RunnerOptions(),
            limits=self._limits,
            meter=self._meter,
            clock=clock,
            start_runner=start_runner,
            find_draft=find_draft,
        )
        self._roster = Roster(limits=self._limits, clock=clock, meter=self._meter)
        self._room = Room(
            self._roster,
            limits=self._limits,
            clock=clock,
            meter=self._meter,
            available=available,
            measure=measure,
        )
        self._candidates = Candidates(self._roster, self._room, self._loader, self._begin_load)
        self._service = ServiceWatch(clock, on_event, self._try_again)
        self._pinned: dict[str, ModelFile] = {}

    @contextlib.asynccontextmanager
    async def lease(
        self, model: ModelFile, *, keep_alive_s: float | None = None, again: bool = False
    ) -> AsyncGenerator[Runner, None]:
        """Lend the runner of a model, loading it when it is not; it is not unloaded while lent.

        Args:
            model: What to lend.
            keep_alive_s: How long the model stays loaded when nobody uses it any more, in seconds, until a
                request says otherwise: 0 unloads it at once, a negative or infinite number never. None leaves
                it as it is, at first at the setting. A pinned model stays.
            again: It is for a request that was lost with the runner before (``second_try``); it is counted.

        Raises (on entering):
            NotEnoughMemoryError: It does not fit; the message has the numbers.
            ModelLoadError: The file was refused or did not load.
            ModelOutOfServiceError: It crashed too often lately.
            ModelUnavailableError: The pool is closing, or other models were busy for too long.
        """
        if keep_alive_s is not None and math.isnan(keep_alive_s):
            raise ValueError("keep_alive_s is not a number")
        self._meter.repeated += again
        place, loaded = await self._take(model, keep_alive_s)
        try:
            yield loaded.runner
        finally:
            loaded.give_back(self._clock())
            self._roster.plan_unload(place, loaded)
            self._roster.changed.set()

    async def trial(
        self, model: ModelFile, *, make_room: bool = False, replaces: str | None = None
    ) -> Runner:
        """Start a candidate runner beside the serving ones, always a new process.

        End it with ``promote`` or ``discard``.

        Args:
            model: What to try.
            make_room: Unload others when memory does not allow all: idle ones first, then the one that is
                replaced (its requests may finish for ``drain_timeout_s``), then others as they become idle.
            replaces: Digest of the model that the candidate is to replace. If it is unloaded for the trial,
                requests for it wait until the trial is over; after a failed one it is loaded again.

        Raises:
            NotEnoughMemoryError: It does not fit; the message has the numbers.
            ModelLoadError: The file was refused or did not load.
            ModelUnavailableError: The pool is closing, or other models were busy for too long.
        """
        if self._roster.closed:
            raise _closing(model)
        work = self._candidates.start(model, make_room=make_room, replaces=replaces)
        task = self._roster.spawn(work, f"trial-{model.label}")
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if not task.cancel() and task.exception() is None:
                self._roster.spawn(self.discard(task.result()), f"discard-{model.label}")
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
        loaded = self._candidates.find(candidate)
        if not candidate.alive:
            await self.discard(candidate)
            raise ModelUnavailableError(f"{candidate.model.label} cannot be activated: its runner has ended")
        self._roster.candidates.remove(loaded)
        place = self._place(candidate.model)
        if place.loading is not None:
            place.loading.cancel()  # those who wait for it find the candidate
        place.history.clear()
        self._serve(place, loaded)
        for waiting in loaded.held:
            waiting.let_in()

    async def discard(self, candidate: Runner) -> None:
        """End a candidate that failed its trial; what was unloaded for it is loaded again."""
        await self._candidates.discard(self._candidates.find(candidate))

    async def retire(self, sha256: str) -> None:
        """Drain and end the serving runner of a digest; its requests may finish within ``drain_timeout_s``.

        Returns when the process is gone. A lease that comes meanwhile starts a new runner.
        Nothing to retire is fine.
        """
        place = self._roster.places.pop(sha256, None)
        if place is None:
            return
        place.retry_with(None)
        place.open.set()
        if place.loading is not None:
            place.loading.cancel()
            await asyncio.wait({place.loading})
        going = self._roster.unload(place, "replaced")
        if going is not None:
            await asyncio.shield(going)

    def unload(self, sha256: str) -> None:
        """Unload a model as soon as nobody uses it, as ``keep_alive_s=0`` does; a pinned one stays."""
        place = self._roster.places.get(sha256)
        if place is not None and place.loaded is not None:
            place.loaded.keep_alive_s = 0.0
            self._roster.plan_unload(place, place.loaded)

    def pin(self, models: Iterable[ModelFile]) -> None:
        """Keep exactly these loaded: they are loaded now, and unloaded for nothing but their replacement."""
        self._pinned = {model.sha256: model for model in models}
        for place in self._roster.places.values():
            place.pinned = place.model.sha256 in self._pinned
            if place.loaded is not None:
                self._roster.plan_unload(place, place.loaded)
                if place.pinned:
                    place.loaded.unload_with(None)
        self._load_pinned()

    def status(self) -> list[ModelStatus]:
        """What is loaded, loading, crashed or out of service, now."""
        now, roster = self._clock(), self._roster
        self._room.measure()
        serving = [place.status(now, self._room.load_fraction(place)) for place in roster.places.values()]
        return [
            *(status for status in serving if status is not None),
            *(runner_status(loaded, "candidate", now=now) for loaded in roster.candidates),
            *(runner_status(loaded, "draining", now=now) for loaded in roster.draining),
        ]

    def metrics(self) -> RuntimeMetrics:
        """Counters and figures over all models."""
        everything = self._roster.all()
        memory = {
            "loaded_models": len(everything),
            "loaded_bytes": self._room.held_bytes(),
            "memory_budget_bytes": self._room.budget().bytes,
            "out_of_service_models": sum(p.out_of_service for p in self._roster.places.values()),
        }
        return self._meter.metrics(
            queue_depth=sum(loaded.runner.queue_depth for loaded in everything),
            in_flight=sum(loaded.runner.in_flight for loaded in everything),
            memory=memory,
        )

    def health(self, sha256: str) -> HealthCounts:
        """What was counted of the requests to one model file since the daemon started."""
        return self._meter.of(sha256).counts

    def room_for(self, replaces: str | None = None) -> int:
        """Memory that one model could have, in bytes, if all but the pinned ones were unloaded.

        Args:
            replaces: A digest that would be unloaded too, though it be pinned.
        """
        return self._room.free_for(replaces)

    async def watch_memory(self) -> None:
        """Measure, and unload idle models when others on this device need the memory; never returns."""
        while True:
            await asyncio.sleep(self._limits.memory_check_interval_s)
            self._room.relieve()
            self._load_pinned()

    async def aclose(self) -> None:
        """End all runners; leases from now on raise ``ModelUnavailableError``. Again is fine."""
        await self._roster.close()

    async def _take(self, model: ModelFile, keep_alive_s: float | None) -> tuple[Place, Loaded]:
        self._place(model).demand.count(self._clock())
        while True:
            place = self._place(model)
            if not place.open.is_set():
                await place.open.wait()
                continue
            loaded = _alive(place)
            if loaded is None:
                await self._wait_for_load(place)
                # Not held back a second time: who waited for it may use it.
                loaded = _alive(place) if self._roster.places.get(model.sha256) is place else None
            if loaded is not None:
                loaded.take(keep_alive_s, model.adapters)
                return place, loaded

    async def _wait_for_load(self, place: Place) -> None:
        # The pool owns the load: when this caller gives up, the next one finds it further on.
        task = place.loading or self._begin_load(place)
        place.waiters += 1
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if place.waiters == 1 and place.loaded is not None:
                asyncio.get_running_loop().call_soon(self._roster.plan_unload, place, place.loaded)
            raise
        finally:
            place.waiters -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    def _place(self, model: ModelFile) -> Place:
        if self._roster.closed:
            raise _closing(model)
        place = self._roster.places.get(model.sha256)
        if place is None:
            place = self._roster.places[model.sha256] = Place(model, self._limits)
            place.pinned = model.sha256 in self._pinned
        return place

    def _begin_load(self, place: Place, *, push: bool = True) -> asyncio.Task[None]:
        """Load a place; unless ``push``, others are unloaded for it only once a request waits."""

        def done(task: asyncio.Task[None]) -> None:
            place.loading = None
            place.reserved = False
            place.loading_pid = None
            self._roster.changed.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("model_load_failed", model=place.model.label, error=str(error))

        place.loading = self._roster.spawn(self._load(place, push=push), f"load-{place.model.label}")
        place.loading.add_done_callback(done)
        return place.loading

    async def _load(self, place: Place, *, push: bool) -> None:
        now = self._clock()
        if (out := place.history.out_of_service_s(now)) > 0:
            raise ModelOutOfServiceError(
                f"{place.model.label} is out of service, since it failed {self._limits.max_crashes} times"
                f" within {self._limits.crash_window_s:g} s; it is tried again in {out:.0f} s."
                f" The last failure: {place.history.last_error}",
                retry_after_s=out,
            )
        await asyncio.sleep(place.history.pause_s(now))

        def promise() -> None:
            place.reserved = True

        try:
            place.need = await self._loader.look_at(place.model)
            await self._room.make(
                Claim(place.model.label, place.need, promise, unload=lambda: push or place.waiters > 0)
            )
            loaded = await self._loader.start(place.model, place.need, place.spawned)
        except ModelLoadError as error:
            self._service.failed(place, str(error))
            raise
        except NotEnoughMemoryError as error:
            place.refusal = str(error)
            raise
        place.refusal = None
        if place.crashed:
            place.restarts += 1
        self._serve(place, loaded)

    def _serve(self, place: Place, loaded: Loaded) -> None:
        """Make a runner the one that serves a digest; the one before drains in the background."""
        self._roster.unload(place, "replaced")
        place.model = loaded.runner.model
        place.need = loaded.holding.need
        place.loaded = loaded
        place.crashed = False
        loaded.last_used = self._clock()
        loaded.runner.exited.add_done_callback(lambda _: self._on_exit(place, loaded))
        self._service.served(place)
        self._roster.plan_unload(place, loaded)
        self._room.relieve()
        self._roster.changed.set()

    def _on_exit(self, place: Place, loaded: Loaded) -> None:
        if not loaded.runner.crashed:
            return
        self._meter.crashes += 1
        self._meter.of(loaded.runner.model.sha256).crash()
        error: RunnerCrashedError = loaded.runner.crash_error()
        self._service.crashed(place, loaded.runner.model, str(error), serving=place.loaded is loaded)
        loaded.unload_with(None)
        if place.loaded is not loaded:
            return
        place.loaded = None
        self._roster.changed.set()
        # Warm again for the next request, but not at the cost of another model. The history bounds how often,
        # and how soon.
        self._try_again(place)

    def _try_again(self, place: Place) -> None:
        """Load a model that crashed, if that costs no other."""
        current = self._roster.places.get(place.model.sha256) is place
        if not current or self._roster.closed or place.loading is not None or place.loaded is not None:
            return
        if place.history.out_of_service_s(self._clock()) <= 0 and self._room.fits_now(place):
            self._begin_load(place, push=False)

    def _load_pinned(self) -> None:
        for model in self._pinned.values():
            place = self._place(model)
            if place.loaded or place.loading or place.out_of_service or not place.open.is_set():
                continue
            if not place.refusal or self._room.may_fit(place):
                self._begin_load(place)


def _alive(place: Place) -> Loaded | None:
    return place.loaded if place.loaded is not None and place.loaded.runner.alive else None


def _closing(model: ModelFile) -> ModelUnavailableError:
    return ModelUnavailableError(f"{model.label} is not available: it is being shut down or was retired")

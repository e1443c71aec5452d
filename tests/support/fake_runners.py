"""Runners that are only bookkeeping, and a pool over them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from skerry_agent.runtime import (
    ModelFile,
    ModelPool,
    Runner,
    RunnerCrashedError,
    RunnerOptions,
    RuntimeLimits,
)
from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.runtime.meter import Meter
from skerry_agent.runtime.service_watch import OnRuntimeEvent
from skerry_agent.runtime.system_memory import ProcessMemory

LOADING_PID = 1000
A, B, C = (ModelFile(Path(f"/{name}.gguf"), name * 64, f"{name}@1") for name in "abc")


@dataclass
class FakeMachine:
    """Memory as a test wants it, in bytes.

    Attributes:
        available: What a program can have.
        loaded: What a process holds that is loading.
        held: What runners hold, by label; others hold nothing.
    """

    available: int | None = None
    loaded: int = 0
    held: dict[str, int] = field(default_factory=dict)


class FakeRunner:
    info = None
    engine = EngineStats()
    rss_bytes = 1
    queue_depth = 0
    in_flight = 0

    def __init__(self, model: ModelFile, pid: int) -> None:
        self.model = model
        self.pid = pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.crashed = False

    @property
    def alive(self) -> bool:
        return not self.exited.done()

    def crash(self) -> None:
        self.crashed = True
        self.exited.set_result(-9)

    def crash_error(self) -> RunnerCrashedError:
        return RunnerCrashedError("it crashed")

    async def stop(self) -> None:
        if not self.exited.done():
            self.exited.set_result(0)
        await asyncio.sleep(0)


class Nursery:
    """Starts fake runners; a load waits for ``go`` and fails with ``failure``."""

    def __init__(self) -> None:
        self.made: list[FakeRunner] = []
        self.starts = 0
        self.go = asyncio.Event()
        self.go.set()
        self.failure: Exception | None = None

    async def __call__(
        self,
        model: ModelFile,
        *,
        options: RunnerOptions,
        limits: RuntimeLimits,
        meter: Meter,
        on_spawn: Callable[[int], None],
    ) -> Runner:
        self.starts += 1
        on_spawn(LOADING_PID)
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        self.made.append(FakeRunner(model, pid=len(self.made) + 1))
        return cast("Runner", self.made[-1])

    @property
    def alive(self) -> list[int]:
        return [runner.pid for runner in self.made if runner.alive]


def pool_limits(**changes: float) -> RuntimeLimits:
    base = {"backoff_initial_s": 0.001, "keep_alive_s": -1, "load_timeout_s": 5, "drain_timeout_s": 5}
    return RuntimeLimits(**(base | changes))  # type: ignore[arg-type]  # a mix of int and float fields


@asynccontextmanager
async def fake_pool(
    nursery: Nursery,
    *,
    check: Callable[[Path], object] = lambda _: None,
    machine: FakeMachine | None = None,
    on_event: OnRuntimeEvent | None = None,
    clock: Callable[[], float] = time.monotonic,
    **limits: float,
) -> AsyncIterator[ModelPool]:
    machine = machine or FakeMachine()

    def measure(pid: int) -> ProcessMemory:
        if pid == LOADING_PID:
            return ProcessMemory(machine.loaded)
        return ProcessMemory(machine.held.get(nursery.made[pid - 1].model.label, 0))

    pool = ModelPool(
        check_header=check,
        limits=pool_limits(**limits),
        start_runner=nursery,
        available=lambda: machine.available,
        measure=measure,
        on_event=on_event,
        clock=clock,
    )
    try:
        yield pool
    finally:
        await pool.aclose()
        assert nursery.alive == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds, checked from outside
            await asyncio.sleep(0.001)

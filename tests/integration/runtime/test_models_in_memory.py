"""Several models under a byte budget, in real processes."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha256

import psutil
import pytest

from skerry_agent.runtime import (
    FinishEvent,
    GenerateRequest,
    ModelFile,
    ModelPool,
    NotEnoughMemoryError,
    Runner,
    RunnerOptions,
    RuntimeLimits,
    check_model_file,
)
from skerry_agent.runtime.memory_need import predict_need
from skerry_agent.runtime.model import MiB
from support.tiny_gguf import write_tiny_gguf

OPTIONS = RunnerOptions(context_tokens=128, threads=1, slots=2, max_prefixes=2)
OpenPool = Callable[..., AbstractAsyncContextManager[ModelPool]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[ModelFile]:
    folder = tmp_path_factory.mktemp("models")
    files = [write_tiny_gguf(folder / f"m{seed}.gguf", seed=seed) for seed in range(3)]
    return [ModelFile(p, sha256(p.read_bytes()).hexdigest(), f"{p.stem}@1") for p in files]


@pytest.fixture
def open_pool() -> OpenPool:
    @asynccontextmanager
    async def open_(**limits: float) -> AsyncIterator[ModelPool]:
        pool = ModelPool(
            check_header=check_model_file,
            options=OPTIONS,
            limits=RuntimeLimits(**limits),  # type: ignore[arg-type]  # a mix of int and float fields
        )
        try:
            yield pool
        finally:
            await pool.aclose()

    return open_


def children() -> dict[int, int]:
    """Resident bytes of this process's children, by id."""
    found = {}
    for child in psutil.Process().children():
        try:
            found[child.pid] = child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds, checked from outside
            await asyncio.sleep(0.01)


async def answer(runner: Runner, prompt: str = "Hi", tokens: int = 4) -> FinishEvent:
    events = [e async for e in runner.generate(GenerateRequest(prompt=prompt, max_tokens=tokens))]
    assert isinstance(events[-1], FinishEvent)
    return events[-1]


async def test_an_idle_model_gives_its_memory_back_since_its_process_ends(
    open_pool: OpenPool, models: list[ModelFile]
) -> None:
    before = children()
    async with open_pool(keep_alive_s=0.1) as pool:
        async with pool.lease(models[0]) as first, pool.lease(models[1], keep_alive_s=-1) as second:
            await answer(first)
            await answer(second)
            both = children()
            assert {first.pid, second.pid} == set(both) - set(before)
        exit_code = await asyncio.wait_for(first.exited, 10)
        assert exit_code == 0
        assert not psutil.pid_exists(first.pid)
        one = children()
        assert set(one) - set(before) == {second.pid}
        assert sum(one.values()) <= sum(both.values()) - both[first.pid] + 1 * MiB
        await until(lambda: len(pool.status()) == 1)
        (status,) = pool.status()
        assert (status.label, status.keep_alive_left_s) == (models[1].label, None)
        pool.unload(models[1].sha256)
        await until(lambda: set(children()) == set(before))
        await until(lambda: pool.metrics().loaded_models == 0)  # the pool is told a moment later
        metrics = pool.metrics()
        assert metrics.loaded_bytes == 0
        assert (metrics.unloads_unused, metrics.unloads_requested) == (1, 1)


async def test_what_is_predicted_is_about_what_is_measured(
    open_pool: OpenPool, models: list[ModelFile]
) -> None:
    async with open_pool() as pool, pool.lease(models[0]) as runner:
        await answer(runner, "word " * 40, 40)
        (status,) = pool.status()
        assert status.measured_bytes is not None
        assert 0.7 < status.predicted_bytes / status.measured_bytes < 1.3
        assert status.memory_bytes >= status.measured_bytes


async def test_models_take_turns_when_the_budget_is_for_one(
    open_pool: OpenPool, models: list[ModelFile]
) -> None:
    need = predict_need(check_model_file(models[0].path), models[0].path, OPTIONS).total_bytes
    async with open_pool(memory_budget_bytes=int(1.6 * need)) as pool:

        async def use(model: ModelFile) -> str:
            async with pool.lease(model) as runner:
                await answer(runner)
                return runner.model.label

        wanted = models * 2
        assert await asyncio.gather(*map(use, wanted)) == [model.label for model in wanted]
        metrics = pool.metrics()
        assert metrics.loads <= 6
        assert metrics.unloads_for_model + metrics.unloads_for_device >= 2
        await until(lambda: pool.metrics().loaded_models == 1)


async def test_a_model_that_cannot_fit_starts_no_process(
    open_pool: OpenPool, models: list[ModelFile]
) -> None:
    before = children()
    async with open_pool(memory_budget_bytes=20 * MiB) as pool:
        with pytest.raises(NotEnoughMemoryError, match=r"m0@1 needs \d+ MiB \(weights .*20 MiB can be had"):
            await pool.lease(models[0]).__aenter__()
        assert set(children()) == set(before)


async def test_a_pinned_model_is_warm_before_anybody_asks(
    open_pool: OpenPool, models: list[ModelFile]
) -> None:
    async with open_pool(keep_alive_s=0.05) as pool:
        pool.pin([models[0]])
        await until(lambda: [s.state for s in pool.status()] == ["ready"])
        pid = pool.status()[0].pid
        async with pool.lease(models[0], keep_alive_s=0) as runner:
            assert runner.pid == pid
        await asyncio.sleep(0.2)
        assert pid is not None
        os.kill(pid, 0)  # it lives

"""The pool over real runner processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from skerry_agent.runtime import (
    FinishEvent,
    GenerateRequest,
    ModelFile,
    ModelLoadError,
    ModelPool,
    Runner,
    RunnerOptions,
    Sampling,
    check_model_file,
)
from support.tiny_gguf import write_tiny_gguf

GREEDY = Sampling(temperature=0)


@pytest.fixture
async def pool() -> AsyncIterator[ModelPool]:
    made = ModelPool(check_header=check_model_file, options=RunnerOptions(threads=1))
    yield made
    await made.aclose()
    assert made.status() == []


async def _answer(runner: Runner, tokens: int = 4) -> FinishEvent:
    request = GenerateRequest(prompt="Hi", sampling=GREEDY, max_tokens=tokens)
    events = [event async for event in runner.generate(request)]
    assert isinstance(events[-1], FinishEvent)
    return events[-1]


async def test_a_candidate_answers_is_promoted_and_the_old_one_finishes_its_request(
    pool: ModelPool, tiny: ModelFile, tmp_path: Path
) -> None:
    path = write_tiny_gguf(tmp_path / "new.gguf", seed=1)
    new = ModelFile(path, "1" * 64, "tiny@2")
    async with (
        pool.lease(tiny) as old,
        aclosing(old.generate(GenerateRequest(prompt="Hi", sampling=GREEDY))) as events,
    ):
        await anext(events)
        candidate = await pool.trial(new)
        await _answer(candidate)
        await pool.promote(candidate)
        retiring = asyncio.create_task(pool.retire(tiny.sha256))
        async with pool.lease(new) as serving:
            assert serving.pid == candidate.pid
            await _answer(serving)
        rest = [event async for event in events]
        assert isinstance(rest[-1], FinishEvent)
    await retiring
    assert await old.exited == 0
    (status,) = pool.status()
    assert (status.label, status.role, status.state) == ("tiny@2", "serving", "ready")
    assert status.rss_bytes > 0
    assert pool.metrics().loads == 2


async def test_a_candidate_that_does_not_load_leaves_the_serving_one_alone(
    pool: ModelPool, tiny: ModelFile, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny.path.read_bytes()[:5000])
    async with pool.lease(tiny) as runner:
        with pytest.raises(ModelLoadError, match="tiny@2 is refused"):
            await pool.trial(ModelFile(damaged, "2" * 64, "tiny@2"))
        await _answer(runner)
    assert [status.label for status in pool.status()] == ["tiny@1"]


@pytest.mark.parametrize("raw", [b"", b"GGUF", b"not a model"], ids=["empty", "magic", "other"])
async def test_what_is_no_model_is_refused_before_a_process_is_started(
    pool: ModelPool, tmp_path: Path, raw: bytes
) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(raw)
    with pytest.raises(ModelLoadError, match="other@1 is refused"):
        async with pool.lease(ModelFile(path, "3" * 64, "other@1")):
            pass
    assert pool.metrics().loads == 0


async def test_a_header_on_which_llama_cpp_aborts_starts_no_process(pool: ModelPool, tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "abort.gguf", overrides={"llama.block_count": 4_000_000_000})
    with pytest.raises(ModelLoadError, match="abort@1 is refused"):
        await pool.trial(ModelFile(path, "4" * 64, "abort@1"))


async def test_requests_of_many_callers_are_all_answered(pool: ModelPool, tiny: ModelFile) -> None:
    async def call() -> int:
        async with pool.lease(tiny) as runner:
            return (await _answer(runner)).usage.completion_tokens

    assert await asyncio.gather(*(call() for _ in range(12))) == [4] * 12
    metrics = pool.metrics()
    assert (metrics.requests, metrics.completion_tokens, metrics.in_flight) == (12, 48, 0)
    assert metrics.mean_tokens_per_s is not None


async def test_the_loop_goes_on_while_a_model_computes(pool: ModelPool, tiny: ModelFile) -> None:
    turns = 0
    async with pool.lease(tiny) as runner:
        answer = asyncio.create_task(_answer(runner, 200))
        while not answer.done():
            await asyncio.sleep(0)
            turns += 1
        await answer
    assert turns > 200

"""Many requests at once through a real runner: each gets the answer that it gets alone."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Literal

import pytest

from skerry_agent.runtime import (
    EngineStats,
    FinishEvent,
    GenerateRequest,
    ModelFile,
    Runner,
    RunnerCrashedError,
    RunnerOptions,
    RuntimeLimits,
    Sampling,
    TokenEvent,
    TokenLogprobs,
)

GREEDY = Sampling(temperature=0)
SYSTEM = "the people of the island live by the sea and think of the land " * 2
ROUNDING = 0.02
OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]


@pytest.fixture
async def runner(open_runner: OpenRunner, tiny: ModelFile) -> AsyncIterator[Runner]:
    async with open_runner(tiny) as opened:
        yield opened


async def _answer(runner: Runner, request: GenerateRequest) -> tuple[str, FinishEvent]:
    events = [event async for event in runner.generate(request)]
    assert isinstance(events[-1], FinishEvent)
    return "".join(event.text for event in events if isinstance(event, TokenEvent)), events[-1]


async def _logprobs(
    runner: Runner, request: GenerateRequest, *, leave_after: int | None = None
) -> list[TokenLogprobs]:
    found: list[TokenLogprobs] = []
    async with aclosing(runner.generate(request)) as events:
        async for event in events:
            if isinstance(event, TokenEvent):
                found += event.logprobs
            if leave_after is not None and len(found) >= leave_after:
                break
    return found


def _requests(rng: random.Random, count: int) -> list[GenerateRequest]:
    return [
        GenerateRequest(
            prompt=rng.choice(["", SYSTEM]) + " ".join(rng.choices(["sea", "rock", "house", "old"], k=4)),
            sampling=GREEDY,
            max_tokens=rng.randrange(1, 40),
            logprobs=4,
            client=rng.choice("ab"),
            ignore_eos=True,
        )
        for _ in range(count)
    ]


def _same(answer: Sequence[TokenLogprobs], alone: Sequence[TokenLogprobs]) -> None:
    """An answer is the other's beginning, or parts from it where two tokens were as good as equal.

    llama.cpp adds up in another order when a batch has more rows, so that the last digits differ.
    """
    for one, other in zip(answer, alone, strict=False):
        assert one.chosen.logprob == pytest.approx(other.top[0].logprob, abs=ROUNDING)
        if one.chosen.token != other.chosen.token:
            near = {each.token for each in other.top if other.top[0].logprob - each.logprob < 2 * ROUNDING}
            assert one.chosen.token in near
            return


@pytest.mark.parametrize("share", ["all", "client", "off"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_each_answer_in_a_crowd_is_the_one_that_it_is_alone(
    open_runner: OpenRunner, tiny: ModelFile, seed: int, share: Literal["all", "client", "off"]
) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test has to be repeatable
    requests = _requests(rng, 24)
    async with open_runner(tiny, options=RunnerOptions(threads=1, slots=1, share_prefixes="off")) as alone:
        expected = [await _logprobs(alone, request) for request in requests]
    options = RunnerOptions(threads=1, slots=6, kv_tokens=600, share_prefixes=share)
    async with open_runner(tiny, options=options, limits=RuntimeLimits(max_queue=30)) as crowd:

        async def one(request: GenerateRequest, *, leave: bool) -> list[TokenLogprobs]:
            await asyncio.sleep(rng.random() * 0.05)
            return await _logprobs(crowd, request, leave_after=2 if leave else None)

        leaving = [rng.random() < 0.25 for _ in requests]
        answers = await asyncio.gather(
            *(one(request, leave=leave) for request, leave in zip(requests, leaving, strict=True))
        )
        for answer, whole, leave in zip(answers, expected, leaving, strict=True):
            _same(answer, whole)
            assert leave or len(answer) == len(whole)
        await _until_idle(crowd)


async def _until_idle(runner: Runner) -> None:
    async with asyncio.timeout(10):
        while runner.in_flight:  # noqa: ASYNC110 - the counts of a runner have no events
            await asyncio.sleep(0.001)


async def test_log_probabilities_are_sorted_and_the_greedy_choice_is_the_first(runner: Runner) -> None:
    found = await _logprobs(runner, GenerateRequest(prompt=SYSTEM, sampling=GREEDY, max_tokens=9, logprobs=3))
    assert len(found) == 9
    for each in found:
        assert each.chosen == each.top[0]
        assert 0 >= each.top[0].logprob >= each.top[1].logprob >= each.top[2].logprob


async def test_a_shared_prefix_saves_its_tokens_and_changes_nothing(runner: Runner) -> None:
    request = GenerateRequest(prompt=SYSTEM + "rock", sampling=GREEDY, max_tokens=20)
    first, cold = await _answer(runner, request)
    again, warm = await _answer(runner, request)
    assert (cold.usage.cached_tokens, warm.usage.cached_tokens) == (0, warm.usage.prompt_tokens - 1)
    assert again == first
    other, finish = await _answer(
        runner, GenerateRequest(prompt=SYSTEM + "sea", sampling=GREEDY, max_tokens=4)
    )
    assert finish.usage.cached_tokens == finish.usage.prompt_tokens - 1
    assert other


async def test_who_asks_for_no_sharing_gets_none(runner: Runner) -> None:
    request = GenerateRequest(prompt=SYSTEM, sampling=GREEDY, max_tokens=2, prefix_cache=False)
    for _ in range(2):
        _, finish = await _answer(runner, request)
        assert finish.usage.cached_tokens == 0
    assert (await _stats(runner)).kv_used == 0


async def _stats(runner: Runner) -> EngineStats:
    await _until_idle(runner)
    async with asyncio.timeout(10):
        while runner.engine.active:  # noqa: ASYNC110 - they come as a message of their own
            await asyncio.sleep(0.001)
    return runner.engine


async def test_prompts_that_fill_the_cache_take_turns(open_runner: OpenRunner, tiny: ModelFile) -> None:
    options = RunnerOptions(threads=1, kv_tokens=256)
    async with open_runner(tiny, options=options) as runner:
        requests = [
            GenerateRequest(prompt="sea " * 150 + str(n), sampling=GREEDY, max_tokens=80) for n in range(6)
        ]
        answers = await asyncio.gather(*(_answer(runner, request) for request in requests))
        assert all(finish.usage.completion_tokens == 80 for _, finish in answers)
        alone = [await _answer(runner, request) for request in requests[:2]]
        assert [text for text, _ in alone] == [text for text, _ in answers[:2]]


async def test_a_killed_runner_fails_what_was_in_it_and_says_what_had_not_begun(
    open_runner: OpenRunner, long_tiny: ModelFile
) -> None:
    options = RunnerOptions(context_tokens=32768, threads=1, slots=2)
    async with open_runner(long_tiny, options=options) as runner:
        requests = [GenerateRequest(prompt=f"Hi {n}", sampling=GREEDY) for n in range(4)]
        tasks = [asyncio.create_task(_answer(runner, request)) for request in requests]
        async with asyncio.timeout(10):
            while runner.in_flight < 4 or runner.queue_depth > 2:  # noqa: ASYNC110 - counts have no events
                await asyncio.sleep(0.001)
        os.kill(runner.pid, signal.SIGKILL)
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, RunnerCrashedError) for error in errors)
        started = [error.started for error in errors if isinstance(error, RunnerCrashedError)]
        assert sorted(started) == [False, False, True, True]


async def test_memory_stays_the_same_over_many_requests(open_runner: OpenRunner, tiny: ModelFile) -> None:
    rng = random.Random(5)  # noqa: S311 - a test has to be repeatable
    async with open_runner(tiny, options=RunnerOptions(threads=1, kv_tokens=512)) as runner:

        async def crowd(count: int) -> int:
            for _ in range(count // 20):
                requests = [
                    GenerateRequest(
                        prompt=f"{rng.random()} " + "sea " * rng.randrange(40),
                        sampling=Sampling(seed=1, repeat_penalty=1.2),
                        max_tokens=3,
                        json_schema='{"type": "object"}' if rng.random() < 0.2 else None,
                    )
                    for _ in range(20)
                ]
                await asyncio.gather(*(_answer(runner, request) for request in requests))
            return runner.rss_bytes

        warm = await crowd(100)
        assert await crowd(400) < warm * 1.05

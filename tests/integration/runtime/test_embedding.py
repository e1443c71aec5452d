"""Vectors and tokens through a real runner process."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from skerry_agent.runtime import (
    EmbedRequest,
    FinishEvent,
    GenerateRequest,
    InvalidRequestError,
    ModelFile,
    PromptTooLongError,
    Runner,
    Sampling,
    TokenEvent,
)

OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]


@pytest.fixture
async def runner(open_runner: OpenRunner, tiny: ModelFile) -> AsyncIterator[Runner]:
    async with open_runner(tiny) as opened:
        yield opened


def _cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_equal_texts_have_equal_vectors_and_others_differ(runner: Runner) -> None:
    result = await runner.embed(EmbedRequest(("the sea", "the sea", "a stone house", "")))
    vectors = result.floats()
    assert result.dimensions == len(vectors[0]) == 64
    assert all(math.isclose(_cosine(v, v), 1.0, rel_tol=1e-4) for v in vectors)
    assert vectors[0] == vectors[1]
    assert _cosine(vectors[0], vectors[2]) < 0.999
    assert result.prompt_tokens > 6


async def test_a_text_in_pieces_has_the_vector_of_the_whole(open_runner: OpenRunner, tiny: ModelFile) -> None:
    async with open_runner(tiny) as runner:
        long = "the rock and the sea " * 20
        (one,) = (await runner.embed(EmbedRequest((long,)))).floats()
        (again,) = (await runner.embed(EmbedRequest((long,), truncate=True))).floats()
        assert one == again


async def test_too_long_a_text_is_refused_or_cut(runner: Runner) -> None:
    with pytest.raises(PromptTooLongError):
        await runner.embed(EmbedRequest(("sea rock " * 300,)))
    result = await runner.embed(EmbedRequest(("sea rock " * 300,), truncate=True))
    assert result.prompt_tokens == 256


async def test_vectors_do_not_change_answers_beside_them(runner: Runner) -> None:
    request = GenerateRequest(prompt="Once", sampling=Sampling(temperature=0), max_tokens=30)

    async def answer() -> str:
        return "".join([e.text async for e in runner.generate(request) if isinstance(e, TokenEvent)])

    alone = await answer()
    vectors = EmbedRequest(tuple("the sea " * n for n in range(1, 30)))
    beside, _ = await asyncio.gather(answer(), runner.embed(vectors))
    assert beside == alone


async def test_a_cancelled_request_for_vectors_frees_its_place(runner: Runner) -> None:
    task = asyncio.create_task(runner.embed(EmbedRequest(("sea " * 100,) * 2000)))
    async with asyncio.timeout(10):
        while runner.queue_depth or not runner.in_flight:  # noqa: ASYNC110 - counts have no events
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        while runner.in_flight:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.001)


async def test_tokens_go_there_and_back(runner: Runner) -> None:
    text = "the sea, naïve 日本 🦭"
    tokens = await runner.tokenize(text)
    assert await runner.detokenize(tokens) == text
    with pytest.raises(InvalidRequestError, match="does not exist"):
        await runner.detokenize([10**9])
    request = GenerateRequest(prompt_tokens=tuple(tokens), sampling=Sampling(temperature=0), max_tokens=1)
    events = [event async for event in runner.generate(request)]
    assert isinstance(events[-1], FinishEvent)
    assert events[-1].usage.prompt_tokens == len(tokens)

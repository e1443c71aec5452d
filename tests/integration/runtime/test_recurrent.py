"""Recurrent models: batched like the others, with nothing shared."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing

import pytest

from skerry_agent.runtime import (
    EmbedRequest,
    FinishEvent,
    GenerateRequest,
    ModelFile,
    Runner,
    RunnerOptions,
    Sampling,
    TokenEvent,
)
from support.tiny_recurrent_gguf import write_tiny_recurrent_gguf

OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    path = tmp_path_factory.mktemp("models") / "recurrent.gguf"
    return ModelFile(write_tiny_recurrent_gguf(path), "6" * 64, "recurrent@1")


@pytest.fixture
async def runner(open_runner: OpenRunner, recurrent: ModelFile) -> AsyncIterator[Runner]:
    async with open_runner(recurrent, options=RunnerOptions(threads=1, slots=4)) as opened:
        yield opened


async def _answer(runner: Runner, prompt: str) -> tuple[str, FinishEvent]:
    request = GenerateRequest(prompt=prompt, sampling=Sampling(temperature=0), max_tokens=20, ignore_eos=True)
    text = ""
    async for event in runner.generate(request):
        if isinstance(event, FinishEvent):
            return text, event
        text += event.text
    raise AssertionError("an answer has an end")


async def test_answers_in_a_crowd_are_those_alone_and_nothing_is_shared(runner: Runner) -> None:
    prompts = ["the sea " * 30 + word for word in ("rock", "house", "old", "land", "sea", "day")]
    alone = [await _answer(runner, prompt) for prompt in prompts]
    crowd = await asyncio.gather(*(_answer(runner, prompt) for prompt in prompts))
    assert [text for text, _ in crowd] == [text for text, _ in alone]
    assert {finish.usage.cached_tokens for _, finish in crowd} == {0}


async def test_a_cancelled_answer_leaves_nothing_behind(runner: Runner) -> None:
    alone, _ = await _answer(runner, "the rock and the sea")
    for _ in range(5):
        request = GenerateRequest(prompt="house " * 50, max_tokens=100, ignore_eos=True)
        async with aclosing(runner.generate(request)) as events:
            async for event in events:
                if isinstance(event, TokenEvent):
                    break
    assert (await _answer(runner, "the rock and the sea"))[0] == alone


async def test_vectors_work_too(runner: Runner) -> None:
    one, same, other = (await runner.embed(EmbedRequest(("the sea", "the sea", "a house")))).floats()
    assert one == same != other

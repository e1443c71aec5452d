"""Sharing and saving with layers that see a window only: nobody may miss what it needs of a prefix."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from skerry_agent.runtime import (
    FinishEvent,
    GenerateRequest,
    ModelFile,
    Runner,
    RunnerOptions,
    Sampling,
    TokenEvent,
    TokenLogprobs,
)
from support.tiny_sliding_gguf import write_tiny_sliding_gguf

OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]
WINDOW = 96
LONG = "the people of the island live by the sea and think of the land " * 13
SYSTEM = "the people of the island live by the sea and think of the land " * 10


@pytest.fixture(scope="module")
def sliding(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    path = tmp_path_factory.mktemp("models") / "sliding.gguf"
    return ModelFile(write_tiny_sliding_gguf(path, window=WINDOW), "5" * 64, "sliding@1")


async def _answer(
    runner: Runner, prompt: str, *, share: bool = True
) -> tuple[list[TokenLogprobs], FinishEvent]:
    request = GenerateRequest(
        prompt=prompt, sampling=Sampling(temperature=0), max_tokens=12, logprobs=2, prefix_cache=share
    )
    found: list[TokenLogprobs] = []
    async for event in runner.generate(request):
        if isinstance(event, TokenEvent):
            found += event.logprobs
        elif isinstance(event, FinishEvent):
            return found, event
    raise AssertionError("an answer has an end")


def _assert_same(one: list[TokenLogprobs], other: list[TokenLogprobs]) -> None:
    assert [each.chosen.token for each in one] == [each.chosen.token for each in other]
    for first, second in zip(one, other, strict=True):
        assert first.chosen.logprob == pytest.approx(second.chosen.logprob, abs=0.02)


async def test_prefixes_longer_than_the_window_are_shared_at_any_length(
    open_runner: OpenRunner, sliding: ModelFile
) -> None:
    async with open_runner(sliding) as runner:
        tokens = await runner.tokenize(SYSTEM)
        assert len(tokens) > WINDOW + 20
        for prompt in (SYSTEM + "sea", SYSTEM + "rock", SYSTEM[: len(SYSTEM) // 2] + "house", SYSTEM + "old"):
            alone, _ = await _answer(runner, prompt, share=False)
            shared, _ = await _answer(runner, prompt)
            again, finish = await _answer(runner, prompt)
            _assert_same(shared, alone)
            _assert_same(again, alone)
            assert finish.usage.cached_tokens == finish.usage.prompt_tokens - 1


async def test_a_prefix_longer_than_the_window_is_saved_in_pieces_and_restored_whole(
    open_runner: OpenRunner, sliding: ModelFile, tmp_path: Path
) -> None:
    options = RunnerOptions(threads=1, prefix_folder=tmp_path)
    async with open_runner(sliding, options=options) as runner:
        shared = len(await runner.tokenize(LONG))
        assert WINDOW - 1 + 64 <= shared < 2 * WINDOW - 2
        expected = await _answer_until_saved(runner, tmp_path)
    async with open_runner(sliding, options=options) as runner:
        found, finish = await _answer(runner, LONG + "sea")
        assert finish.usage.cached_tokens == finish.usage.prompt_tokens - 1
        _assert_same(found, expected)


async def test_a_piece_without_what_it_continues_is_not_restored(
    open_runner: OpenRunner, sliding: ModelFile, tmp_path: Path
) -> None:
    options = RunnerOptions(threads=1, prefix_folder=tmp_path)
    async with open_runner(sliding, options=options) as runner:
        expected = await _answer_until_saved(runner, tmp_path)
    max(_saved(tmp_path), key=lambda path: path.stat().st_mtime_ns).unlink()
    async with open_runner(sliding, options=options) as runner:
        found, finish = await _answer(runner, LONG + "sea")
        assert finish.usage.cached_tokens == 0
        _assert_same(found, expected)


async def _answer_until_saved(runner: Runner, folder: Path) -> list[TokenLogprobs]:
    """An answer without sharing, and then others to the same beginning, until both its pieces are saved."""
    expected, _ = await _answer(runner, LONG + "sea", share=False)
    for word in ("sea", "rock", "old", "house", "land"):
        await _answer(runner, LONG + word)
    async with asyncio.timeout(10):
        while len(_saved(folder)) < 2:  # noqa: ASYNC110 - written beside the engine
            await asyncio.sleep(0.01)
    return expected


def _saved(folder: Path) -> list[Path]:
    return list(folder.rglob("*.prefix"))

"""Prefixes that outlive the runner, and state files that llama.cpp would end the process on."""

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
)

OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]
SYSTEM = "the people of the island live by the sea and think of the land " * 6


def _saved(folder: Path) -> list[Path]:
    return list(folder.rglob("*.prefix"))


async def _answer(runner: Runner, question: str) -> tuple[str, int]:
    request = GenerateRequest(prompt=SYSTEM + question, sampling=Sampling(temperature=0), max_tokens=12)
    text, cached = "", 0
    async for event in runner.generate(request):
        if isinstance(event, TokenEvent):
            text += event.text
        elif isinstance(event, FinishEvent):
            cached = event.usage.cached_tokens
    return text, cached


async def _fill(open_runner: OpenRunner, model: ModelFile, folder: Path) -> dict[str, str]:
    """Answers of a runner that saved its prefix."""
    async with open_runner(model, options=RunnerOptions(threads=1, prefix_folder=folder)) as runner:
        answers = {word: (await _answer(runner, word))[0] for word in ("sea", "rock", "old", "house", "land")}
        async with asyncio.timeout(10):
            while not _saved(folder):  # noqa: ASYNC110 - written beside the engine
                await asyncio.sleep(0.01)
    return answers


async def test_a_restarted_runner_has_read_the_prefix_already(
    open_runner: OpenRunner, tiny: ModelFile, tmp_path: Path
) -> None:
    answers = await _fill(open_runner, tiny, tmp_path)
    async with open_runner(tiny, options=RunnerOptions(threads=1, prefix_folder=tmp_path)) as runner:
        text, cached = await _answer(runner, "sea")
        assert text == answers["sea"]
        assert cached > 50
        assert runner.engine.restored_tokens >= cached


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-100] + b"\xff" * 100,
        lambda raw: raw[:100],
        lambda _: b"",
    ],
    ids=["half", "end", "head", "empty"],
)
async def test_a_damaged_state_is_refused_before_llama_cpp_sees_it(
    open_runner: OpenRunner, tiny: ModelFile, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    answers = await _fill(open_runner, tiny, tmp_path)
    for path in _saved(tmp_path):
        path.write_bytes(damage(path.read_bytes()))
    async with open_runner(tiny, options=RunnerOptions(threads=1, prefix_folder=tmp_path)) as runner:
        text, cached = await _answer(runner, "sea")
        assert (text, cached) == (answers["sea"], 0)
        assert not _saved(tmp_path)


async def test_a_folder_that_cannot_be_written_hurts_nobody(
    open_runner: OpenRunner, tiny: ModelFile, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    options = RunnerOptions(threads=1, prefix_folder=tmp_path / "file")
    async with open_runner(tiny, options=options) as runner:
        for word in ("sea", "rock", "old", "house", "land", "sea"):
            assert (await _answer(runner, word))[0]

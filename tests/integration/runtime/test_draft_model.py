"""A second model that guesses tokens, in real runners."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from skerry_agent.runtime import (
    GenerateRequest,
    ModelFile,
    ModelPool,
    Runner,
    RunnerOptions,
    Sampling,
    TokenEvent,
    check_model_file,
)
from support.tiny_gguf import write_tiny_gguf

OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]
OPTIONS = RunnerOptions(threads=1, context_tokens=256, slots=4)
REQUESTS = [
    GenerateRequest(prompt="Once upon a time", sampling=Sampling(temperature=0), max_tokens=120),
    GenerateRequest(prompt="the sea", sampling=Sampling(temperature=0.7, seed=4), max_tokens=120),
    GenerateRequest(prompt="house " * 60, sampling=Sampling(temperature=1.0, seed=5), max_tokens=120),
]


@pytest.fixture(scope="module")
def drafts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("drafts")
    return {
        "itself": write_tiny_gguf(folder / "itself.gguf"),
        "another": write_tiny_gguf(folder / "another.gguf", seed=9, blocks=1),
        "more tokens": write_tiny_gguf(folder / "more.gguf", vocabulary_extra=7),
        "no model": _garbage(folder / "garbage.gguf"),
    }


def _garbage(path: Path) -> Path:
    path.write_bytes(b"GGUF" + bytes(100))
    return path


async def _answers(runner: Runner) -> list[str]:
    found = []
    for request in REQUESTS:
        events = [event async for event in runner.generate(replace_cache(request))]
        found.append("".join(event.text for event in events if isinstance(event, TokenEvent)))
    return found


def replace_cache(request: GenerateRequest) -> GenerateRequest:
    return GenerateRequest(
        prompt=request.prompt, sampling=request.sampling, max_tokens=request.max_tokens, prefix_cache=False
    )


@pytest.mark.parametrize("name", ["itself", "another"])
async def test_answers_are_those_of_the_model_alone(
    open_runner: OpenRunner, tiny: ModelFile, drafts: dict[str, Path], name: str
) -> None:
    async with open_runner(tiny, options=replace(OPTIONS, speculate=False)) as runner:
        alone = await _answers(runner)
    with capture_logs() as logs:
        async with open_runner(tiny, options=replace(OPTIONS, draft=drafts[name])) as runner:
            helped = await _answers(runner)
            engine = runner.engine
    assert helped == alone
    assert engine.draft_s > 0
    assert engine.drafted_tokens > 0
    assert engine.accepted_tokens > (engine.drafted_tokens / 2 if name == "itself" else 0)
    assert not [entry for entry in logs if entry["event"] == "draft_model_refused"]


@pytest.mark.parametrize(("name", "reason"), [("more tokens", "have to be the same"), ("no model", "load")])
async def test_a_draft_of_another_kind_is_left_out_and_the_model_answers(
    open_runner: OpenRunner, tiny: ModelFile, drafts: dict[str, Path], name: str, reason: str
) -> None:
    with capture_logs() as logs:
        async with open_runner(tiny, options=replace(OPTIONS, draft=drafts[name])) as runner:
            assert all(await _answers(runner))
            assert runner.engine.draft_s == 0
    (refused,) = [entry for entry in logs if entry["event"] == "draft_model_refused"]
    assert reason in refused["reason"]


async def test_the_pool_finds_it_counts_it_and_does_without_it_when_it_is_gone(
    tiny: ModelFile, drafts: dict[str, Path], tmp_path: Path
) -> None:
    found: list[ModelFile | None] = []

    async def find(model: ModelFile) -> ModelFile | None:
        assert model == tiny
        return found[0]

    pool = ModelPool(check_header=check_model_file, options=OPTIONS, find_draft=find)
    predicted = []
    try:
        for path in (None, drafts["itself"], tmp_path / "gone"):
            found[:] = [None if path is None else ModelFile(path, "7" * 64, "draft@1")]
            async with pool.lease(tiny, keep_alive_s=0) as runner:
                await _answers(runner)
                (status,) = pool.status()
                predicted.append(status.predicted_bytes)
                assert (runner.engine.draft_s > 0) == (path == drafts["itself"])
            await runner.exited
    finally:
        await pool.aclose()
    assert predicted[1] > predicted[0] == predicted[2]

"""The switch from one version to the next while requests run, on real runners."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from skerry_agent.runtime import (
    FinishEvent,
    GenerateRequest,
    ModelFile,
    ModelPool,
    RunnerOptions,
    Sampling,
    TokenEvent,
    check_model_file,
)
from skerry_agent.trials import Perplexities, RunnerTrier
from skerry_protocol.acceptance import Acceptance
from support.tiny_gguf import write_tiny_gguf

TOKENS = 200
LONG = GenerateRequest(
    prompt="The sea", sampling=Sampling(temperature=0.0), max_tokens=TOKENS, ignore_eos=True
)


def model(path: Path) -> ModelFile:
    return ModelFile(path, hashlib.sha256(path.read_bytes()).hexdigest(), f"{path.stem}@1")


@pytest.fixture
async def pool() -> AsyncIterator[ModelPool]:
    one = ModelPool(check_header=check_model_file, options=RunnerOptions(context_tokens=256, threads=1))
    yield one
    await one.aclose()


class Stream:
    """A streamed answer that stops after its first token until it may go on."""

    def __init__(self, pool: ModelPool, file: ModelFile) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.pid = 0
        self.finish: FinishEvent | None = None
        self.task = asyncio.create_task(self._read(pool, file))

    async def _read(self, pool: ModelPool, file: ModelFile) -> None:
        async with pool.lease(file) as runner, aclosing(runner.generate(LONG)) as events:
            self.pid = runner.pid
            async for event in events:
                if isinstance(event, TokenEvent):
                    self.begun.set()
                    await self.go_on.wait()
                else:
                    self.finish = event


async def test_streams_under_way_finish_on_the_old_runner_while_new_requests_go_to_the_new_one(
    pool: ModelPool, tmp_path: Path
) -> None:
    old, new = (model(write_tiny_gguf(tmp_path / f"{n}.gguf", seed=n)) for n in (1, 2))
    serving = {old.sha256}

    async def active_files() -> set[str]:
        return serving

    trier = RunnerTrier(pool, active_files, Perplexities(tmp_path / "measured.json"))
    streams = [Stream(pool, old) for _ in range(4)]
    await asyncio.gather(*(stream.begun.wait() for stream in streams))
    assert (await trier.try_model(new, Acceptance(), replaces=old)).passed
    serving.clear()
    serving.add(new.sha256)
    await trier.promote(new)
    await trier.settle()
    late = Stream(pool, new)
    late.go_on.set()
    await late.task
    for stream in streams:
        assert not stream.task.done()
        stream.go_on.set()
    await asyncio.gather(*(stream.task for stream in streams))
    for stream in (*streams, late):
        assert stream.finish is not None
        assert stream.finish.usage.completion_tokens == TOKENS
    assert {stream.pid for stream in streams} == {streams[0].pid}
    assert late.pid != streams[0].pid
    assert pool.health(old.sha256).finished == len(streams)
    assert pool.health(old.sha256).failed == pool.health(new.sha256).failed == 0

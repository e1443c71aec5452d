from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from skerry_agent.runtime import ModelFile, Runner, RunnerOptions, RuntimeLimits
from support.tiny_gguf import write_tiny_gguf

OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]


def model_file(path: Path, label: str = "tiny@1") -> ModelFile:
    return ModelFile(path, sha256(path.read_bytes()).hexdigest(), label)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """A model with a chat template and a context of 256 tokens, which hardly ever ends by itself."""
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_tiny_gguf(path)
    return model_file(path)


@pytest.fixture(scope="session")
def long_tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """One whose answers are long enough to interrupt them."""
    path = tmp_path_factory.mktemp("models") / "long.gguf"
    write_tiny_gguf(path, context=32768, eos_lean=-100.0)
    return model_file(path, "long@1")


@pytest.fixture
def open_runner() -> OpenRunner:
    @asynccontextmanager
    async def open_(
        model: ModelFile, *, options: RunnerOptions | None = None, limits: RuntimeLimits | None = None
    ) -> AsyncIterator[Runner]:
        runner = await Runner.start(model, options=options or RunnerOptions(threads=1), limits=limits)
        try:
            yield runner
        finally:
            await runner.stop()

    return open_

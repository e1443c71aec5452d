"""What the header predicts against what a runner of a real model holds."""

import asyncio
from pathlib import Path

import pytest

from skerry_agent.runtime import (
    EmbedRequest,
    GenerateRequest,
    ModelFile,
    ModelPool,
    RunnerOptions,
    check_model_file,
)
from support.real_models import BOTH


@pytest.mark.parametrize("model", BOTH)
async def test_the_prediction_is_within_a_tenth_of_what_is_measured(model: ModelFile, tmp_path: Path) -> None:
    options = RunnerOptions(context_tokens=512, prefix_folder=tmp_path)
    pool = ModelPool(check_header=check_model_file, options=options)
    try:
        async with pool.lease(model) as runner:
            async for _ in runner.generate(GenerateRequest(prompt="the sea " * 120, max_tokens=4)):
                pass
            (status,) = pool.status()
            before = status.measured_bytes
            vectors = asyncio.create_task(runner.embed(EmbedRequest(("the sea " * 120,) * 2)))
            while not vectors.done():
                pool.status()  # measures
                await asyncio.sleep(0.01)
            (status,) = pool.status()
        assert before is not None
        assert status.measured_bytes is not None
        assert before < status.measured_bytes
        assert 0.9 < status.predicted_bytes / status.measured_bytes < 1.1
    finally:
        await pool.aclose()

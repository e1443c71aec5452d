"""The real models, where ``make models gemma`` keep them. Tests that use one are skipped without it."""

import os
from pathlib import Path

import pytest

from skerry_agent.runtime import ModelFile

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skerry" / "models"
SMOLLM2 = ModelFile(
    CACHE / "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "smollm2@1",
)
GEMMA3 = ModelFile(
    CACHE / "gemma-3-270m.Q4_K_M.gguf",
    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    "gemma3@1",
)
NEEDED = {
    model.label: [
        pytest.mark.model,
        pytest.mark.skipif(not model.path.exists(), reason="the real model is not there: make models gemma"),
    ]
    for model in (SMOLLM2, GEMMA3)
}
"""Marks of a test that needs a model, by its label."""
BOTH = [pytest.param(model, marks=NEEDED[model.label], id=model.label) for model in (SMOLLM2, GEMMA3)]

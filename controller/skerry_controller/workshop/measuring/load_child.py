"""Loads a model once, in a fresh process, and tells how long that took: ``python -m …load_child``.

``load`` is until one token was computed: only then the mapped weights were all read. Python's own start does
not count.
"""

import time
from pathlib import Path

import msgspec

from skerry_controller.workshop.child_side import Parent, serve
from skerry_controller.workshop.measuring.llama import LlamaContext, LlamaModel, ordinary_tokens

CONTEXT_TOKENS = 512
BATCH_TOKENS = 128


class LoadJob(msgspec.Struct, frozen=True):
    """What to load, and by how many threads."""

    path: str
    threads: int


class Loaded(msgspec.Struct, frozen=True):
    """Milliseconds.

    Attributes:
        opened_ms: Until llama.cpp had opened the model.
        ready_ms: Until it had computed one token, of which all weights are part.
    """

    opened_ms: float
    ready_ms: float


def load(job: LoadJob, parent: Parent) -> Loaded:
    """Load it."""
    del parent
    start = time.perf_counter()
    model = LlamaModel(Path(job.path))
    opened = time.perf_counter()
    tokens = min(CONTEXT_TOKENS, model.trained_tokens or CONTEXT_TOKENS)
    context = LlamaContext(model, tokens=tokens, batch=BATCH_TOKENS, threads=job.threads)
    context.read(ordinary_tokens(model, 1))
    ready = time.perf_counter()
    context.close()
    return Loaded((opened - start) * 1e3, (ready - start) * 1e3)


if __name__ == "__main__":
    serve(LoadJob, load)

"""Loads a model in a fresh process, fills its context, tells what it holds: ``python -m …memory_child``."""

from pathlib import Path

import msgspec

from skerry_controller.workshop.child_side import Parent, serve
from skerry_controller.workshop.measuring.held_memory import Held, held_memory
from skerry_controller.workshop.measuring.llama import LlamaContext, LlamaModel, ordinary_tokens


class MemoryJob(msgspec.Struct, frozen=True):
    """What to load.

    Attributes:
        path: The model's file.
        context: Tokens of the context.
        batch: Tokens of one step.
        threads: Threads.
    """

    path: str
    context: int
    batch: int
    threads: int


class Memory(msgspec.Struct, frozen=True):
    """Bytes.

    Attributes:
        before: What the process held before the model.
        full: What it held when the context was full.
        mapped: llama.cpp's buffer of weights that lie in the file.
        repacked: Its copies of weights in an order that suits this processor.
        cache: Its KV cache.
        compute: Its buffers of one step, with the logits.
    """

    before: Held
    full: Held
    mapped: int
    repacked: int
    cache: int
    compute: int


def measure(job: MemoryJob, parent: Parent) -> Memory:
    """Measure it."""
    path = Path(job.path)
    before = held_memory(path)
    model = LlamaModel(path)
    context = LlamaContext(model, tokens=job.context, batch=job.batch, threads=job.threads)
    tokens = ordinary_tokens(model, job.context)
    for start in range(0, job.context, context.batch_tokens):
        parent.progress(f"memory: context {job.context}", start, job.context)
        context.read(tokens[start : start + context.batch_tokens])
    full = held_memory(path)
    log = model.log
    return Memory(
        before=before,
        full=full,
        mapped=log.buffer_bytes("model", backend="_Mapped"),
        repacked=log.buffer_bytes("model", backend="_REPACK"),
        cache=log.buffer_bytes("KV") + log.buffer_bytes("RS"),
        compute=log.buffer_bytes("compute") + log.buffer_bytes("output"),
    )


if __name__ == "__main__":
    serve(MemoryJob, measure)

"""What a model is predicted to need beside what the rules of thumb say. Pure."""

import msgspec

from skerry_controller.workshop.comparing.rules_of_thumb import (
    BITS_PER_WEIGHT,
    MEMORY_FACTORS,
    memory_by_rule,
    step_of,
)
from skerry_controller.workshop.library import Entry
from skerry_protocol.model_description import RUNNER_BYTES

MEMORY_BATCH = 256
"""Tokens of one step while memory is measured: as an agent's runner has it."""


class Prediction(msgspec.Struct, frozen=True):
    """Bytes, from the header alone.

    Attributes:
        context: Tokens of the context.
        weights: All tensors.
        cache: KV cache of one sequence.
        compute: Buffers of one step.
        tables: llama.cpp's tables of the vocabulary.
    """

    context: int
    weights: int
    cache: int
    compute: int
    tables: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.compute + self.tables


def predict(entry: Entry, context: int, *, batch: int = MEMORY_BATCH) -> Prediction:
    """What a process holds for a model with one sequence, without the process itself."""
    need = entry.description.memory_need(cache_tokens=context, batch_tokens=batch, sequences=1)
    return Prediction(
        context=context,
        weights=need.weights_bytes,
        cache=need.cache_bytes,
        compute=need.compute_bytes,
        tables=need.process_bytes - RUNNER_BYTES,
    )


class Rules(msgspec.Struct, frozen=True):
    """What the rules of thumb say of a model, and of which step of them it is.

    Attributes:
        step: ``F16``, ``Q8_0`` or ``Q4_0``: the nearest.
        file_bytes: Of its file: 16, 8.5 or 4.5 bits a weight.
        factor: Memory in use as a multiple of the file.
        memory_bytes: By the real file's size.
        file_by_step: What the same weights would take in each step.
    """

    step: str
    file_bytes: int
    factor: float
    memory_bytes: int
    file_by_step: dict[str, int]


def rules_of_thumb(entry: Entry) -> Rules:
    """Apply the rules."""
    step = step_of(entry)
    files = {name: round(entry.description.parameters * bits / 8) for name, bits in BITS_PER_WEIGHT.items()}
    return Rules(step, files[step], MEMORY_FACTORS[step], round(memory_by_rule(entry)), files)

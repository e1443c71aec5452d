"""What a model's runner will hold, and what it holds: predicted from the header, corrected by measuring."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from skerry_agent.runtime.draft import CHUNK_TOKENS
from skerry_agent.runtime.model import RunnerOptions
from skerry_agent.runtime.requests import AdapterFile
from skerry_agent.runtime.speculation import MAX_JOBS
from skerry_agent.runtime.system_memory import ProcessMemory
from skerry_protocol.model_description import (
    DEFAULT_CACHE_CONTEXTS,
    RUNNER_BYTES,
    MemoryNeed,
    ModelDescription,
)

MAX_KEPT_ADAPTERS = 8
"""A runner keeps so many LoRA adapters loaded."""


def with_adapters(need: MemoryNeed, adapters: Iterable[AdapterFile]) -> MemoryNeed:
    """What a runner needs that has loaded these adapters as well."""
    size = sum(adapter.length for adapter in adapters)
    return msgspec.structs.replace(need, process_bytes=need.process_bytes + size)


def predict_need(description: object, path: Path, options: RunnerOptions) -> MemoryNeed:
    """What a runner of this model needs with these options.

    Args:
        description: What our look at the header found; only the file's size counts if it is no
            ModelDescription.
        path: The file.
        options: How it will run.
    """
    if not isinstance(description, ModelDescription):
        return MemoryNeed(weights_bytes=_size(path), cache_bytes=0, compute_bytes=0, process_bytes=0)
    context = _context(options, description.context_length)
    kept = options.max_prefixes if options.share_prefixes != "off" else 0
    return description.memory_need(
        cache_tokens=cache_tokens(options, description.context_length),
        batch_tokens=max(options.batch_tokens, options.slots),
        sequences=sequences(options.slots, kept),
        vectors_tokens=context,
        parked_tokens=parked_tokens(context, kept),
    )


def predict_draft_need(description: object, path: Path, options: RunnerOptions) -> int:
    """What a draft model adds to the process of the model that it guesses for, in bytes."""
    if not isinstance(description, ModelDescription):
        return _size(path)
    need = description.memory_need(
        cache_tokens=MAX_JOBS * _context(options, description.context_length),
        batch_tokens=CHUNK_TOKENS,
        sequences=MAX_JOBS,
    )
    return need.total_bytes - RUNNER_BYTES


def sequences(slots: int, kept: int) -> int:
    """How many sequences the cache knows: those that run, kept prefixes, and one to copy prefixes from."""
    return slots + kept + (1 if kept else 0)


def parked_tokens(context_tokens: int, kept: int) -> int:
    """Tokens of prefixes of which copies lie in memory, at most: half a context, where prefixes are kept."""
    return context_tokens // 2 if kept else 0


def cache_tokens(options: RunnerOptions, trained_tokens: int) -> int:
    """Cells of the KV cache that the engine makes.

    Args:
        options: How the model will run.
        trained_tokens: The longest context that it was trained for; 0 if that is not known.
    """
    context = _context(options, trained_tokens)
    return max(context, options.kv_tokens or context * DEFAULT_CACHE_CONTEXTS)


def _context(options: RunnerOptions, trained_tokens: int) -> int:
    return min(options.context_tokens, trained_tokens or options.context_tokens)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@dataclass(slots=True)
class Holding:
    """The memory of one runner.

    What a runner holds right after loading is measured: weights, cache, tables. Its compute buffers it
    touches only as prompts get longer, and the context for vectors comes with the first text; so their
    prediction stays on top until more than that was seen.
    """

    need: MemoryNeed
    _adapters: dict[str, int] = field(default_factory=dict)
    _loaded_bytes: int | None = None
    _peak_bytes: int = 0

    @property
    def measured_bytes(self) -> int | None:
        """The most that was seen; None before the first measurement."""
        return self._peak_bytes or None

    @property
    def bytes(self) -> int:
        """What to count for it."""
        if self._loaded_bytes is None:
            return self.need.total_bytes
        adapters = sum(self._adapters.values())
        return max(self._peak_bytes, self._loaded_bytes + self.need.later_bytes + adapters)

    def expect(self, adapters: Iterable[AdapterFile]) -> None:
        """Count adapters that requests bring along; so many of the latest as a runner keeps loaded."""
        for adapter in adapters:
            self._adapters.pop(adapter.sha256, None)
            self._adapters[adapter.sha256] = adapter.length
        for sha256 in list(self._adapters)[:-MAX_KEPT_ADAPTERS]:
            del self._adapters[sha256]

    def measure(self, now: ProcessMemory) -> None:
        """Take a measurement; the first one is that of the loaded, unused model.

        Weights count in full, also when the kernel has dropped some of their pages for now.
        """
        if not now.private_bytes:
            return
        held = now.private_bytes + max(now.file_bytes, self.need.weights_bytes)
        if self._loaded_bytes is None:
            self._loaded_bytes = held
        self._peak_bytes = max(self._peak_bytes, held)

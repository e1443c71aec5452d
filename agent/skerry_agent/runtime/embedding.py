"""Vectors for texts, in small steps between those of the answers; belongs to the runner process (numpy)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from skerry_agent.runtime.errors import PromptTooLongError
from skerry_agent.runtime.requests import AdapterFile, EmbedRequest, EmbedResult
from skerry_agent.runtime.text_queue import TextQueue
from skerry_agent.runtime.wire import Embedded, FromRunner

Pooling = Literal["mean", "first", "last"]
Floats = NDArray[np.float32]


class EmbedModel(Protocol):
    """A context that computes the vectors of one text's tokens; ``LlamaEmbedContext`` is the real one.

    Attributes:
        context_tokens: The most tokens of a text.
        step_tokens: The most tokens of one ``vectors``.
        pooling: How a text's vector comes from those of its tokens.
    """

    context_tokens: int
    step_tokens: int
    pooling: Pooling

    def begin(self, adapters: Sequence[AdapterFile]) -> None:
        """Forget the text before, and compute the next one with these adapters."""

    def vectors(self, tokens: Sequence[int], position: int) -> Floats:
        """The vectors of these tokens, one a row."""

    def close(self) -> None:
        """Free the context."""


@dataclass(slots=True, eq=False)
class EmbedJob:
    """A request for vectors.

    Attributes:
        running: The engine's thread has it: only that may end it now.
        texts: The tokens of each text.
        total: The sum of the present text's vectors so far, or the one that its pooling takes.
        read: How many tokens of the present text are computed.
    """

    number: int
    request: EmbedRequest
    cancelled: bool = False
    running: bool = False
    texts: list[list[int]] = field(default_factory=list)
    done: list[bytes] = field(default_factory=list)
    total: Floats | None = None
    read: int = 0


class Embedder(TextQueue[EmbedJob, EmbedModel]):
    """Computes the vectors of one request after another."""

    def _read(self, job: EmbedJob, model: EmbedModel) -> FromRunner | None:
        tokens = job.texts[len(job.done)]
        if len(tokens) > model.context_tokens:
            if not job.request.truncate:
                raise PromptTooLongError(len(tokens), model.context_tokens)
            tokens = job.texts[len(job.done)] = tokens[: model.context_tokens]
        if not job.read:
            model.begin(job.request.adapters)
        part = tokens[job.read : job.read + model.step_tokens]
        vectors = model.vectors(part, job.read)
        if job.total is None or model.pooling == "last":
            job.total = vectors[0] * 0
        if model.pooling == "mean":
            job.total = job.total + vectors.sum(axis=0)
        elif model.pooling == "last" or not job.read:
            job.total = vectors[-1 if model.pooling == "last" else 0].copy()
        job.read += len(part)
        if job.read == len(tokens):
            self._finish_text(job, len(tokens) if model.pooling == "mean" else 1)
        if len(job.done) < len(job.texts):
            return None
        total = sum(map(len, job.texts))
        return Embedded(job.number, EmbedResult(tuple(job.done), len(job.done[0]) // 4, total))

    def _finish_text(self, job: EmbedJob, count: int) -> None:
        total, job.total, job.read = job.total, None, 0
        if total is None:
            raise RuntimeError("a text has no vector")
        vector = total / count
        if job.request.normalise:
            vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        job.done.append(vector.astype("<f4").tobytes())

"""Vectors for texts, in small steps between those of the answers; belongs to the runner process (numpy)."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from skerry_agent.runtime.engine_ports import EngineBrokenError
from skerry_agent.runtime.errors import PromptTooLongError
from skerry_agent.runtime.failures import failure
from skerry_agent.runtime.requests import AdapterFile, EmbedRequest, EmbedResult
from skerry_agent.runtime.wire import Cancelled, Embedded, FromRunner, Progress

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


class Embedder:
    """Computes one job after another.

    Args:
        open_model: Makes the context when the first job comes; it is closed when there is nothing to do.
    """

    def __init__(self, open_model: Callable[[], EmbedModel]) -> None:
        self._open_model = open_model
        self._model: EmbedModel | None = None
        self._jobs: deque[EmbedJob] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: EmbedJob) -> None:
        """Add a job at the end."""
        job.running = True
        self._jobs.append(job)

    def step(self) -> tuple[EmbedJob, FromRunner] | None:
        """Compute one piece; return a message about a job, None when there is nothing to do.

        Raises:
            EngineBrokenError: The process has to end.
        """
        if not self._jobs:
            return None
        job = self._jobs[0]
        if job.cancelled:
            return self._end(job, Cancelled(job.number))
        try:
            model = self._model = self._model or self._open_model()
            self._read(job, model)
        except EngineBrokenError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this job and not the others
            return self._end(job, failure(job.number, error))
        if len(job.done) < len(job.texts):
            return job, Progress(job.number)
        tokens = sum(map(len, job.texts))
        result = EmbedResult(tuple(job.done), len(job.done[0]) // 4, tokens)
        return self._end(job, Embedded(job.number, result))

    def rest(self) -> None:
        """Free the context: there is nothing to do."""
        if self._model is not None and not self._jobs:
            self._model.close()
            self._model = None

    def _end(self, job: EmbedJob, message: FromRunner) -> tuple[EmbedJob, FromRunner]:
        self._jobs.remove(job)
        return job, message

    def _read(self, job: EmbedJob, model: EmbedModel) -> None:
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

    def _finish_text(self, job: EmbedJob, count: int) -> None:
        total, job.total, job.read = job.total, None, 0
        if total is None:
            raise RuntimeError("a text has no vector")
        vector = total / count
        if job.request.normalise:
            vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        job.done.append(vector.astype("<f4").tobytes())

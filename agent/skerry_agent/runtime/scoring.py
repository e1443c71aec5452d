"""How probable a text is to the model, in small steps between those of the answers."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from skerry_agent.runtime.engine_ports import EngineBrokenError
from skerry_agent.runtime.failures import failure
from skerry_agent.runtime.requests import AdapterFile
from skerry_agent.runtime.wire import Cancelled, FromRunner, Progress, Scored


class ScoreModel(Protocol):
    """A context that gives the probabilities of one text's tokens; ``LlamaScoreContext`` is the real one.

    Attributes:
        window_tokens: The text is read in windows of so many tokens, each for itself.
        step_tokens: The most tokens of one ``nats``.
    """

    window_tokens: int
    step_tokens: int

    def begin(self, adapters: Sequence[AdapterFile]) -> None:
        """Forget the window before, and compute the next one with these adapters."""

    def nats(self, tokens: Sequence[int], position: int, following: Sequence[int]) -> float:
        """Read tokens; returns the sum of -ln p of those that follow each, as far as there are any."""

    def close(self) -> None:
        """Free the context."""


@dataclass(slots=True, eq=False)
class ScoreJob:
    """A text to score.

    Attributes:
        running: The engine's thread has it: only that may end it now.
        read: How many tokens are read.
        scored: How many tokens were scored; ``nats`` is the sum of their -ln p.
    """

    number: int
    text: str
    adapters: tuple[AdapterFile, ...] = ()
    cancelled: bool = False
    running: bool = False
    tokens: list[int] = field(default_factory=list)
    read: int = 0
    scored: int = 0
    nats: float = 0.0


class Scorer:
    """Scores one job after another.

    Args:
        open_model: Makes the context when the first job comes; it is closed when there is nothing to do.
    """

    def __init__(self, open_model: Callable[[], ScoreModel]) -> None:
        self._open_model = open_model
        self._model: ScoreModel | None = None
        self._jobs: deque[ScoreJob] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: ScoreJob) -> None:
        """Add a job at the end."""
        job.running = True
        self._jobs.append(job)

    def step(self) -> tuple[ScoreJob, FromRunner] | None:
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
        if job.read < len(job.tokens):
            return job, Progress(job.number)
        return self._end(job, Scored(job.number, job.scored, job.nats))

    def rest(self) -> None:
        """Free the context: there is nothing to do."""
        if self._model is not None and not self._jobs:
            self._model.close()
            self._model = None

    def _end(self, job: ScoreJob, message: FromRunner) -> tuple[ScoreJob, FromRunner]:
        self._jobs.remove(job)
        return job, message

    def _read(self, job: ScoreJob, model: ScoreModel) -> None:
        position = job.read % model.window_tokens
        if position == 0:
            model.begin(job.adapters)
        count = min(model.step_tokens, model.window_tokens - position, len(job.tokens) - job.read)
        end = min(job.read - position + model.window_tokens, len(job.tokens))
        following = job.tokens[job.read + 1 : min(job.read + count + 1, end)]
        job.nats += model.nats(job.tokens[job.read : job.read + count], position, following)
        job.scored += len(following)
        job.read += count

"""Texts that are read piece by piece between the steps of the answers: one job after another."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from skerry_agent.runtime.engine_ports import EngineBrokenError
from skerry_agent.runtime.failures import failure
from skerry_agent.runtime.wire import Cancelled, FromRunner, Progress


class TextModel(Protocol):
    """A context of its own for texts."""

    def close(self) -> None:
        """Free the context."""


class TextJob(Protocol):
    """What is asked of it.

    Attributes:
        cancelled: Nobody waits for it any more.
        running: The engine's thread has it: only that may end it now.
    """

    @property
    def number(self) -> int:
        """The request's number."""

    cancelled: bool
    running: bool


J = TypeVar("J", bound=TextJob)
M = TypeVar("M", bound=TextModel)


class TextQueue(ABC, Generic[J, M]):
    """Reads the texts of one job after another.

    Args:
        open_model: Makes the context when the first job comes; it is closed when there is nothing to do.
    """

    def __init__(self, open_model: Callable[[], M]) -> None:
        self._open_model = open_model
        self._model: M | None = None
        self._jobs: deque[J] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: J) -> None:
        """Add a job at the end."""
        job.running = True
        self._jobs.append(job)

    def step(self) -> tuple[J, FromRunner] | None:
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
            result = self._read(job, model)
        except EngineBrokenError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this job and not the others
            return self._end(job, failure(job.number, error))
        return (job, Progress(job.number)) if result is None else self._end(job, result)

    def rest(self) -> None:
        """Free the context: there is nothing to do."""
        if self._model is not None and not self._jobs:
            self._model.close()
            self._model = None

    @abstractmethod
    def _read(self, job: J, model: M) -> FromRunner | None:
        """Compute the next piece; the job's result when that was the last."""

    def _end(self, job: J, message: FromRunner) -> tuple[J, FromRunner]:
        self._jobs.remove(job)
        return job, message

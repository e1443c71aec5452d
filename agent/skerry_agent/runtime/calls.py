"""Asking a runner process, and what becomes of a question when the process or the caller goes away."""

import time
from collections.abc import AsyncGenerator, Callable
from typing import Protocol, TypeVar

from skerry_agent.runtime.errors import ModelUnavailableError, RunnerCrashedError
from skerry_agent.runtime.health import HealthTally
from skerry_agent.runtime.jobs import Job, Jobs
from skerry_agent.runtime.meter import Meter
from skerry_agent.runtime.outcome import request_error
from skerry_agent.runtime.requests import FinishEvent, GenerateEvent, GenerateRequest, TokenEvent
from skerry_agent.runtime.wire import Cancel, Failed, FailureCode, Finished, Outcome, Token, encode

MODEL_FAILURES: frozenset[FailureCode] = frozenset({"failed", "no_chat_template", "expired"})
"""What another model, or a faster one, might have answered."""

T = TypeVar("T", bound=Outcome)


class RunnerPipe(Protocol):
    """The way to the process; ``Runner`` is the real one."""

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""

    def write(self, frame: bytes) -> None:
        """Send a message; nothing happens when the pipe is closed."""

    async def send(self, frame: bytes) -> None:
        """As ``write``, and wait while the pipe is full."""

    def end_error(self) -> ModelUnavailableError:
        """Why it takes no requests any more."""


class Calls:
    """The questions to one runner.

    Args:
        jobs: Its table of requests.
        meter: Where to count.
        tally: Where to count for this model alone.
        pipe: The way to the process.
    """

    def __init__(self, jobs: Jobs, meter: Meter, pipe: RunnerPipe, tally: HealthTally) -> None:
        self._jobs = jobs
        self._meter = meter
        self._pipe = pipe
        self._tally = tally

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateEvent, None]:
        """Run one request; see ``Runner.generate``."""
        job = self._enter(lambda: self._jobs.admit(request))
        began = time.monotonic()
        first_token_s: float | None = None
        over = False
        try:
            await self._pipe.send(job.frame)
            while not over:
                message = await job.messages.get()
                if first_token_s is None:
                    first_token_s = time.monotonic() - began
                if isinstance(message, Token):
                    yield TokenEvent(message.text, message.logprobs)
                    continue
                over = True
                if not isinstance(message, Finished):
                    self._meter.failed += 1
                    raise self._error(message, job)
                self._meter.finish(message.usage, message.timings, first_token_s=first_token_s)
                self._tally.finish(message.usage, message.timings, first_token_s=first_token_s)
                yield FinishEvent(message.reason, message.usage, message.timings)
        finally:
            if not over:
                self._cancel(job)

    async def ask(self, kind: type[T], admit: Callable[[], tuple[Job, Job | None]]) -> T:
        """A request with one answer, which is of this kind when all goes well."""
        job = self._enter(admit)
        over = False
        try:
            await self._pipe.send(job.frame)
            message = await job.messages.get()
            over = True
            if not isinstance(message, kind):
                self._meter.failed += 1
                raise self._error(message, job)
            self._meter.finished += 1
            return message
        finally:
            if not over:
                self._cancel(job)

    def _enter(self, admit: Callable[[], tuple[Job, Job | None]]) -> Job:
        if not self._pipe.alive:
            error = self._pipe.end_error()
            if isinstance(error, RunnerCrashedError):
                error.started = False
            raise error
        job, displaced = admit()
        if displaced is not None:
            self._pipe.write(encode(Cancel(displaced.number)))
        return job

    def _cancel(self, job: Job) -> None:
        self._meter.cancelled += 1
        if self._jobs.abandon(job):
            self._pipe.write(encode(Cancel(job.number)))

    def _error(self, message: Token | Outcome | None, job: Job) -> Exception:
        if isinstance(message, Failed):
            if message.code in MODEL_FAILURES:
                self._tally.fail()
            return request_error(message, retry_after_s=self._meter.retry_after_s)
        error = self._pipe.end_error()
        if isinstance(error, RunnerCrashedError):
            error.started = job.started
            if job.started:
                self._tally.fail()
        return error

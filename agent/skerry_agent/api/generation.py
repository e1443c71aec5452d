"""One request's answers as a task of its own, and their events as an iterator that any task may read.

A streamed answer is begun in one task and read on in another; deadlines and the runner's lease belong to a
single task, so that one holds them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Self

from skerry_agent.api.errors import RequestTimeoutError
from skerry_agent.api.leasing import Lender
from skerry_agent.errors import WorldError
from skerry_agent.runtime import (
    FinishEvent,
    GenerateEvent,
    GenerateRequest,
    ModelFile,
    Runner,
    TokenEvent,
    TokenLogprobs,
)

PARALLEL_CHOICES = 4
"""So many choices of one request are in the runner at a time: it must not fill the queue alone."""

ChoiceEvent = tuple[int, GenerateEvent]


@dataclass(slots=True)
class Choice:
    """One whole answer."""

    text: str
    finish: FinishEvent
    logprobs: list[TokenLogprobs] = field(default_factory=list)


class Generation(AsyncIterator[ChoiceEvent]):
    """Runs requests on a model's runner. Close it, also half way: that frees the runner's places.

    Yields ``(index of the request, event)``; events of different requests are mixed.

    Attributes:
        load_s: How long the runner took to be there, in seconds; 0 until it is.
    """

    def __init__(
        self,
        lender: Lender,
        model: ModelFile,
        requests: Sequence[GenerateRequest],
        *,
        timeout_s: float,
        keep_alive_s: float | None = None,
    ) -> None:
        self.load_s = 0.0
        self._lender = lender
        self._requests = tuple(model.ask(request) for request in requests)
        self._timeout_s = timeout_s
        self._keep_alive_s = keep_alive_s
        self._places = asyncio.Semaphore(PARALLEL_CHOICES)
        self._events: asyncio.Queue[ChoiceEvent | None] = asyncio.Queue()
        self._error: Exception | None = None
        self._task = asyncio.create_task(self._produce(model), name=f"generation {model.label}")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChoiceEvent:
        event = await self._events.get()
        if event is not None:
            return event
        self._events.put_nowait(None)
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def collect(self) -> list[Choice]:
        """All answers, whole, in the order of the requests."""
        texts: list[list[str]] = [[] for _ in self._requests]
        logprobs: list[list[TokenLogprobs]] = [[] for _ in self._requests]
        finishes: dict[int, FinishEvent] = {}
        async for index, event in self:
            if isinstance(event, TokenEvent):
                texts[index].append(event.text)
                logprobs[index].extend(event.logprobs)
            else:
                finishes[index] = event
        if len(finishes) != len(self._requests):
            raise WorldError("the model ended without finishing its answer; try again")
        return [Choice("".join(texts[i]), finishes[i], logprobs[i]) for i in range(len(self._requests))]

    async def aclose(self) -> None:
        """Stop generating, and wait until the runner's places are free."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _produce(self, model: ModelFile) -> None:
        began = time.monotonic()
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._lender.lease(model, self._keep_alive_s) as runner,
            ):
                self.load_s = time.monotonic() - began
                await self._run_all(runner)
        except TimeoutError:
            self._error = RequestTimeoutError(
                f"the answer took longer than api.request_timeout_s ({self._timeout_s:g} s)"
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, the reader raises it in its own task
            self._error = error
        finally:
            self._events.put_nowait(None)

    async def _run_all(self, runner: Runner) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for index, request in enumerate(self._requests):
                    group.create_task(self._run(runner, index, request), name=f"choice {index}")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _run(self, runner: Runner, index: int, request: GenerateRequest) -> None:
        async with self._places, aclosing(self._lender.generate(runner, request)) as events:
            async for event in events:
                self._events.put_nowait((index, event))

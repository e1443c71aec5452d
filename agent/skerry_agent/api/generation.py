"""One generation as a task of its own, and its events as an iterator that any task may read.

A streamed answer is begun in one task and read on in another; deadlines and the runner's lease belong
to a single task, so that one holds them.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Self

from skerry_agent.api.ports import Runners
from skerry_agent.errors import WorldError
from skerry_agent.runtime import GenerateEvent, GenerateRequest, ModelFile


class Generation(AsyncIterator[GenerateEvent]):
    """Runs a request on a model's runner. Close it, also half way: that frees the runner's slot."""

    def __init__(
        self, runners: Runners, model: ModelFile, request: GenerateRequest, timeout_s: float
    ) -> None:
        self._runners = runners
        self._timeout_s = timeout_s
        self._events: asyncio.Queue[GenerateEvent | None] = asyncio.Queue()
        self._error: Exception | None = None
        self._task = asyncio.create_task(self._produce(model, request), name=f"generation {model.label}")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> GenerateEvent:
        event = await self._events.get()
        if event is not None:
            return event
        self._events.put_nowait(None)
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop generating, and wait until the runner's slot is free."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _produce(self, model: ModelFile, request: GenerateRequest) -> None:
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._runners.lease(model) as runner,
                aclosing(runner.generate(request)) as events,
            ):
                async for event in events:
                    self._events.put_nowait(event)
        except TimeoutError:
            self._error = WorldError(
                f"the answer took longer than api.request_timeout_s ({self._timeout_s:g} s)"
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, the reader raises it in its own task
            self._error = error
        finally:
            self._events.put_nowait(None)

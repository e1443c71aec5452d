"""What all answers share: a leased runner, a status that the first event decides, clients that go away."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import structlog
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from skerry_agent.api.catalog import Catalog, Served
from skerry_agent.api.errors import DisconnectedError, RequestTimeoutError
from skerry_agent.api.generation import Choice, ChoiceEvent, Generation
from skerry_agent.api.leasing import Lender
from skerry_agent.api.model_headers import ModelHeaders
from skerry_agent.api.ports import Runners
from skerry_agent.api.reply import without_template_tools
from skerry_agent.runtime import EmbedRequest, EmbedResult, GenerateRequest

log = structlog.get_logger(__name__)
T = TypeVar("T")

Encode = Callable[[AsyncIterator[ChoiceEvent]], AsyncIterator[bytes]]


class Answering:
    """Runs requests for the dialects.

    Args:
        catalog: Names of models.
        runners: The runtime.
        timeout_s: Longest time for one request, in seconds.
    """

    def __init__(self, catalog: Catalog, runners: Runners, timeout_s: float) -> None:
        self.catalog = catalog
        self.runners = runners
        self.timeout_s = timeout_s
        self.lender = Lender(runners)
        self.headers = ModelHeaders()

    async def begin(
        self, served: Served, requests: Sequence[GenerateRequest], *, keep_alive_s: float | None = None
    ) -> Generation:
        """Start generating.

        Args:
            served: The model.
            requests: One for each choice.
            keep_alive_s: How long the model stays loaded afterwards, in seconds; None for the setting's time.

        Raises:
            WorldError: The model's header cannot be read.
        """
        if any(request.tools or _mentions_tools(request) for request in requests):
            facts = await self.headers.facts(served.artifact)
            if not facts.knows_tools:
                requests = [without_template_tools(request) for request in requests]
        return Generation(
            self.lender, served.model, requests, timeout_s=self.timeout_s, keep_alive_s=keep_alive_s
        )

    async def whole(self, request: Request, generation: Generation) -> list[Choice]:
        """All answers of a generation, unless the client goes away before."""
        async with aclosing(generation):
            return await until_disconnect(request, generation.collect())

    async def stream(
        self, request: Request, generation: Generation, encode: Encode, media_type: str
    ) -> StreamingResponse:
        """A streamed answer. What fails before the first event is an HTTP error."""
        try:
            first = await until_disconnect(request, anext(generation))
        except BaseException:
            await generation.aclose()
            raise
        return _Stream(generation, encode(_resume(first, generation)), media_type)

    async def embed(
        self, request: Request, served: Served, wanted: EmbedRequest, *, keep_alive_s: float | None = None
    ) -> tuple[EmbedResult, float]:
        """Vectors of texts, and how long the model took to load, in seconds."""

        async def work() -> tuple[EmbedResult, float]:
            began = time.monotonic()
            async with (
                asyncio.timeout(self.timeout_s),
                self.lender.lease(served.model, keep_alive_s) as runner,
            ):
                load_s = time.monotonic() - began
                return await self.lender.embed(runner, served.model.ask(wanted)), load_s

        try:
            return await until_disconnect(request, work())
        except TimeoutError as error:
            raise RequestTimeoutError(
                f"the vectors took longer than api.request_timeout_s ({self.timeout_s:g} s)"
            ) from error

    async def load(self, served: Served, keep_alive_s: float | None) -> float:
        """Load a model, or unload it when it is to be kept for 0 s; returns the time it took, in seconds."""
        began = time.monotonic()
        if keep_alive_s == 0:
            self.lender.unload(served.model)
            return 0.0
        async with self.lender.lease(served.model, keep_alive_s):
            return time.monotonic() - began


def _mentions_tools(request: GenerateRequest) -> bool:
    return any(m.tool_calls is not None or m.role == "tool" for m in request.messages or ())


class _Stream(StreamingResponse):
    """A body that ends its generation with it, however it ends."""

    def __init__(self, generation: Generation, content: AsyncIterator[bytes], media_type: str) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, media_type=media_type, headers=headers)
        self._generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, then free the runner's places."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._generation.aclose()


async def _resume(first: ChoiceEvent, rest: AsyncIterator[ChoiceEvent]) -> AsyncIterator[ChoiceEvent]:
    yield first
    async for event in rest:
        yield event


async def until_disconnect(request: Request, work: Awaitable[T]) -> T:
    """Wait for ``work``, but give it up as soon as the client is gone: its place must go to others."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            log.info("client_disconnected")
            raise DisconnectedError("the client closed the connection")
        return task.result()
    finally:
        for pending in (task, gone):
            pending.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Callable[[], Awaitable[object]]) -> None:
    while True:
        message = await receive()
        if isinstance(message, dict) and message.get("type") == "http.disconnect":
            return

"""The application: routes of the local API, behind the guard."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from skerry_agent.api.errors import on_agent_error, on_http_error, on_unexpected_error
from skerry_agent.api.generation import Generation
from skerry_agent.api.guard import Guard
from skerry_agent.api.metrics import format_metrics
from skerry_agent.api.openai_answers import Answer, AnswerKind
from skerry_agent.api.openai_schema import (
    ChatCompletionRequest,
    CompletionRequest,
    SamplingFields,
    decode_body,
)
from skerry_agent.api.ports import Models, Runners
from skerry_agent.errors import AgentError, WorldError
from skerry_agent.registry import InstalledArtifact
from skerry_agent.runtime import FinishEvent, GenerateEvent, GenerateRequest, ModelFile, TokenEvent

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """The API's slice of the settings; times in seconds, sizes in bytes."""

    allowed_hosts: frozenset[str]
    max_body_bytes: int
    request_timeout_s: float


class DisconnectedError(WorldError):
    """The client went away before its answer was complete."""


def create_api(models: Models, runners: Runners, options: ApiOptions) -> Starlette:
    """The local API over a registry and a runtime."""
    api = OpenAiApi(models, runners, options)
    return Starlette(
        routes=[
            Route("/health", api.health),
            Route("/metrics", api.metrics),
            Route("/v1/models", api.list_models),
            Route("/v1/models/{name:path}", api.show_model),
            Route("/v1/chat/completions", api.chat_completions, methods=["POST"]),
            Route("/v1/completions", api.completions, methods=["POST"]),
        ],
        middleware=[
            Middleware(Guard, allowed_hosts=options.allowed_hosts, max_body_bytes=options.max_body_bytes)
        ],
        exception_handlers={
            AgentError: on_agent_error,
            HTTPException: on_http_error,
            Exception: on_unexpected_error,
        },
    )


class OpenAiApi:
    """The handlers of OpenAI's API."""

    def __init__(self, models: Models, runners: Runners, options: ApiOptions) -> None:
        self._models = models
        self._runners = runners
        self._options = options

    async def health(self, _request: Request) -> Response:
        """Whether the daemon lives, and what it serves."""
        slots = {slot.name: slot.active.ref for slot in await self._models.slots() if slot.active}
        runners = [
            {"model": s.label, "state": s.state, "queue": s.queue_depth, "restarts": s.restarts}
            for s in self._runners.status()
        ]
        return JSONResponse({"status": "ok", "slots": slots, "runners": runners})

    async def metrics(self, _request: Request) -> Response:
        """Counters in Prometheus' text format."""
        return PlainTextResponse(
            format_metrics(self._runners.metrics()), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def list_models(self, _request: Request) -> Response:
        """Channels and artifacts, each a model that requests can name."""
        entries = [_model_entry(a.ref, a) for a in await self._models.artifacts() if a.kind == "model"]
        entries += [_model_entry(s.name, s.active) for s in await self._models.slots() if s.active]
        return JSONResponse({"object": "list", "data": entries})

    async def show_model(self, request: Request) -> Response:
        """One model by any of its names."""
        name = request.path_params["name"]
        return JSONResponse(_model_entry(name, await self._models.find(name)))

    async def chat_completions(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        body = decode_body(await request.body(), ChatCompletionRequest)
        return await self._answer(request, "chat", body, body.to_generate())

    async def completions(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        body = decode_body(await request.body(), CompletionRequest)
        return await self._answer(request, "text", body, body.to_generate())

    async def _answer(
        self, request: Request, kind: AnswerKind, body: SamplingFields, generate: GenerateRequest
    ) -> Response:
        artifact = await self._models.find(body.model)
        answer = Answer(kind, request.state.request_id, body.model)
        model = ModelFile(artifact.path, artifact.file_sha256, artifact.ref)
        generation = Generation(self._runners, model, generate, self._options.request_timeout_s)
        if body.stream:
            return await self._stream(request, answer, generation, body)
        async with aclosing(generation):
            text, finish = await _until_disconnect(request, _collect(generation))
        return Response(msgspec.json.encode(answer.whole(text, finish)), media_type="application/json")

    async def _stream(
        self, request: Request, answer: Answer, generation: Generation, body: SamplingFields
    ) -> Response:
        # The first event decides the status: what fails before it is a proper HTTP error.
        try:
            first = await _until_disconnect(request, anext(generation))
        except BaseException:
            await generation.aclose()
            raise
        usage = body.stream_options is not None and body.stream_options.include_usage
        return _EventStream(generation, answer.stream(_resume(first, generation), include_usage=usage))


class _EventStream(StreamingResponse):
    """Server-sent events that end their generation with them, however they end."""

    def __init__(self, generation: Generation, content: AsyncIterator[bytes]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, media_type="text/event-stream", headers=headers)
        self._generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, then free the slot."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._generation.aclose()


async def _resume(first: GenerateEvent, rest: AsyncIterator[GenerateEvent]) -> AsyncIterator[GenerateEvent]:
    yield first
    async for event in rest:
        yield event


async def _collect(events: AsyncIterator[GenerateEvent]) -> tuple[str, FinishEvent]:
    parts: list[str] = []
    async for event in events:
        if isinstance(event, TokenEvent):
            parts.append(event.text)
        else:
            return "".join(parts), event
    raise WorldError("the model ended without finishing its answer; try again")


async def _until_disconnect(request: Request, work: Awaitable[T]) -> T:
    """Wait for ``work``, but give it up as soon as the client is gone: its slot must go to others."""
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


def _model_entry(name: str, artifact: InstalledArtifact) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": int(artifact.installed_at),
        "owned_by": "fleet" if artifact.signed else "local",
        "artifact": artifact.ref,
        "sha256": artifact.file_sha256,
        "license": artifact.license,
        "meta": dict(artifact.description),
    }

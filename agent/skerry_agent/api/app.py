"""The application: routes of the local API behind the guard; each dialect is imported when first spoken."""

import importlib

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from skerry_agent.api.answering import Answering
from skerry_agent.api.catalog import Catalog
from skerry_agent.api.errors import on_agent_error, on_http_error, on_unexpected_error
from skerry_agent.api.gate import Gate, Handler
from skerry_agent.api.guard import Guard
from skerry_agent.api.metrics import CONTENT_TYPE, format_metrics
from skerry_agent.api.parts import ApiOptions, ApiParts
from skerry_agent.errors import AgentError
from skerry_protocol.errors import ProtocolError

OPENAI = "skerry_agent.api.openai"
OLLAMA = "skerry_agent.api.ollama"


def create_api(parts: ApiParts, options: ApiOptions) -> Starlette:
    """The local API over a registry and a runtime."""
    answering = Answering(Catalog(parts.models, parts.presets), parts.runners, options.request_timeout_s)
    gate = Gate(parts.tokens, required=options.require_token)
    device = _Device(parts)
    return Starlette(
        routes=[
            Route("/", device.hello),
            Route("/health", device.health),
            Route("/metrics", device.metrics),
            Route("/openapi.json", device.openapi),
            *_openai_routes(gate, answering),
            *_ollama_routes(gate, answering, parts),
        ],
        middleware=[
            Middleware(Guard, allowed_hosts=options.allowed_hosts, max_body_bytes=options.max_body_bytes)
        ],
        exception_handlers={
            AgentError: on_agent_error,
            ProtocolError: on_agent_error,
            HTTPException: on_http_error,
            Exception: on_unexpected_error,
        },
    )


def _openai_routes(gate: Gate, answering: Answering) -> list[Route]:
    def handler(name: str) -> Handler:
        return gate.infer(_later(OPENAI, name, answering))

    return [
        Route("/v1/models", handler("list_models")),
        Route("/v1/models/{name:path}", handler("show_model")),
        Route("/v1/chat/completions", handler("answer_chat"), methods=["POST"]),
        Route("/v1/completions", handler("answer_completions"), methods=["POST"]),
        Route("/v1/embeddings", handler("answer_embeddings"), methods=["POST"]),
        Route("/v1/responses", handler("answer_responses"), methods=["POST"]),
    ]


def _ollama_routes(gate: Gate, answering: Answering, parts: ApiParts) -> list[Route]:
    def infer(name: str) -> Handler:
        return gate.infer(_later(OLLAMA, name, answering))

    def manage(name: str) -> Handler:
        return gate.manage(_later(OLLAMA, name, answering, parts))

    return [
        Route("/api/version", infer("show_version")),
        Route("/api/tags", infer("list_tags")),
        Route("/api/ps", infer("list_running")),
        Route("/api/show", infer("show_model"), methods=["POST"]),
        Route("/api/generate", infer("answer_generate"), methods=["POST"]),
        Route("/api/chat", infer("answer_chat"), methods=["POST"]),
        Route("/api/embed", infer("answer_embed"), methods=["POST"]),
        Route("/api/embeddings", infer("answer_embeddings"), methods=["POST"]),
        Route("/api/pull", manage("pull_model"), methods=["POST"]),
        Route("/api/create", manage("create_model"), methods=["POST"]),
        Route("/api/copy", manage("copy_model"), methods=["POST"]),
        Route("/api/delete", manage("delete_model"), methods=["DELETE"]),
        Route("/api/push", manage("push_model"), methods=["POST"]),
        Route("/api/blobs/{digest}", manage("take_blob"), methods=["HEAD", "POST"]),
    ]


def _later(module: str, name: str, *parts: object) -> Handler:
    """A handler whose module is imported at its first request."""

    async def handle(request: Request) -> Response:
        handler = getattr(importlib.import_module(module), name)
        response: Response = await handler(request, *parts)
        return response

    return handle


class _Device:
    """What belongs to no dialect."""

    def __init__(self, parts: ApiParts) -> None:
        self._models = parts.models
        self._runners = parts.runners

    async def hello(self, _request: Request) -> Response:
        """Ollama's clients look here whether somebody is there."""
        return PlainTextResponse("Skerry is running")

    async def health(self, _request: Request) -> Response:
        """Whether the daemon lives, and what it serves."""
        slots = {slot.name: slot.serving.text for slot in await self._models.slots() if slot.serving}
        runners = [
            {"model": s.label, "state": s.state, "queue": s.queue_depth, "restarts": s.restarts}
            for s in self._runners.status()
        ]
        return JSONResponse({"status": "ok", "slots": slots, "runners": runners})

    async def metrics(self, _request: Request) -> Response:
        """Counters in Prometheus' text format."""
        text = format_metrics(self._runners.metrics(), self._runners.status())
        return PlainTextResponse(text, media_type=CONTENT_TYPE)

    async def openapi(self, _request: Request) -> Response:
        """The description of this API."""
        from skerry_agent.api.openapi import openapi_document  # noqa: PLC0415 - imports both dialects

        return Response(openapi_document(), media_type="application/json")

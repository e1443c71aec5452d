"""The OpenAPI document of the local API: requests exactly, from their Structs; answers loosely."""

from dataclasses import dataclass
from typing import Any

import msgspec

from skerry_agent import __version__
from skerry_agent.api.ollama.embeddings import OllamaEmbed, OllamaEmbeddings
from skerry_agent.api.ollama.manage import CopyRequest, CreateRequest, DeleteRequest
from skerry_agent.api.ollama.models import ShowRequest
from skerry_agent.api.ollama.pull import PullRequest
from skerry_agent.api.ollama.requests import OllamaChat, OllamaGenerate
from skerry_agent.api.openai.chat_request import ChatCompletionRequest
from skerry_agent.api.openai.completion_request import CompletionRequest
from skerry_agent.api.openai.embeddings import EmbeddingRequest
from skerry_agent.api.openai.responses_request import ResponseRequest

JSON = "application/json"
SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"

_STATUSES = {
    "400": "the request is wrong; the message says where",
    "401": "a local API token is needed",
    "403": "Host or Origin is not allowed",
    "404": "no such model",
    "409": "the model is in use",
    "413": "the body is over api.max_body_bytes",
    "500": "the model's runner ended under the request, or the agent is at fault",
    "503": "busy or out of service; see Retry-After",
    "504": "longer than api.request_timeout_s",
}


@dataclass(frozen=True, slots=True)
class _Operation:
    path: str
    method: str
    summary: str
    body: type[msgspec.Struct] | None = None
    answers: tuple[str, ...] = (JSON,)
    manages: bool = False


_OPERATIONS = (
    _Operation("/health", "get", "Whether the daemon lives, and what it serves"),
    _Operation("/metrics", "get", "Figures in Prometheus' text format", answers=(TEXT,)),
    _Operation("/openapi.json", "get", "This document"),
    _Operation("/v1/models", "get", "Names that can be asked for"),
    _Operation("/v1/models/{name}", "get", "One model by any of its names"),
    _Operation("/v1/chat/completions", "post", "Chat", ChatCompletionRequest, (JSON, SSE)),
    _Operation("/v1/completions", "post", "Complete text", CompletionRequest, (JSON, SSE)),
    _Operation("/v1/responses", "post", "Respond", ResponseRequest, (JSON, SSE)),
    _Operation("/v1/embeddings", "post", "Embed texts", EmbeddingRequest),
    _Operation("/api/version", "get", "The version of Ollama whose API this is"),
    _Operation("/api/tags", "get", "Names that can be asked for"),
    _Operation("/api/ps", "get", "Models in memory"),
    _Operation("/api/show", "post", "One model", ShowRequest),
    _Operation("/api/generate", "post", "Complete a prompt", OllamaGenerate, (JSON, NDJSON)),
    _Operation("/api/chat", "post", "Chat", OllamaChat, (JSON, NDJSON)),
    _Operation("/api/embed", "post", "Embed texts", OllamaEmbed),
    _Operation("/api/embeddings", "post", "Embed one text", OllamaEmbeddings),
    _Operation(
        "/api/pull", "post", "Take what the fleet chose, now", PullRequest, (JSON, NDJSON), manages=True
    ),
    _Operation("/api/create", "post", "Make a preset", CreateRequest, (JSON, NDJSON), manages=True),
    _Operation("/api/copy", "post", "Give a model another name", CopyRequest, (), manages=True),
    _Operation("/api/delete", "delete", "Remove a preset or a local model", DeleteRequest, (), manages=True),
)


def openapi_document() -> bytes:
    """The document as JSON."""
    bodies = [operation.body for operation in _OPERATIONS if operation.body is not None]
    references, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    shown = dict(zip(bodies, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in _OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, shown)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Skerry's local API",
            "version": __version__,
            "description": "OpenAI's API under /v1/, Ollama's under /api/.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas, **_ERRORS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(document)


_ERRORS: dict[str, Any] = {
    "OpenAiError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    },
    "OllamaError": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
}


def _operation(operation: _Operation, shown: dict[type[msgspec.Struct], Any]) -> dict[str, Any]:
    error = "OllamaError" if operation.path.startswith("/api/") else "OpenAiError"
    reference = {"schema": {"$ref": f"#/components/schemas/{error}"}}
    responses: dict[str, Any] = {
        status: {"description": text, "content": {JSON: reference}} for status, text in _STATUSES.items()
    }
    responses["200"] = {"description": "done"}
    if operation.answers:
        kinds = {kind: {"schema": {"type": "object"} if kind == JSON else {}} for kind in operation.answers}
        responses["200"]["content"] = kinds
    described: dict[str, Any] = {"summary": operation.summary, "responses": responses}
    if "{name}" in operation.path:
        name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        described["parameters"] = [name]
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": shown[operation.body]}}}
    described["security"] = [{"token": []}] if operation.manages else [{}, {"token": []}]
    return described

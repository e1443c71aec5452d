"""What an error means over HTTP; each dialect gives it its own form.

OpenAI: ``{"error": {message, type, param, code}}``. Ollama: ``{"error": "message"}``.
"""

import math
from dataclasses import dataclass

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from skerry_agent.errors import AgentError, UsageError, WorldError
from skerry_agent.registry import ModelInUseError, ModelNotFoundError
from skerry_agent.runtime import (
    InvalidRequestError,
    ModelOutOfServiceError,
    ModelUnavailableError,
    NoChatTemplateError,
    NotEnoughMemoryError,
    PromptTooLongError,
    QueueFullError,
    RunnerCrashedError,
)
from skerry_protocol.errors import ProtocolError

log = structlog.get_logger(__name__)

OLLAMA_PREFIX = "/api/"
INVALID = "invalid_request_error"
SERVER = "server_error"


class BadRequestError(UsageError):
    """A field of the request is wrong or asks for something that is not there."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        """Build the error; ``param`` names the field."""
        super().__init__(message)
        self.param = param
        self.code = code


class NotAllowedError(UsageError):
    """The request needs a token that it does not bring."""


class RequestTimeoutError(WorldError):
    """The answer took longer than ``api.request_timeout_s``."""


class DisconnectedError(WorldError):
    """The client went away before its answer was complete."""


_KINDS: list[tuple[type[Exception], int, str, str | None]] = [
    (NotAllowedError, 401, "authentication_error", "invalid_api_key"),
    (ModelNotFoundError, 404, INVALID, "model_not_found"),
    (ModelInUseError, 409, INVALID, "model_in_use"),
    (PromptTooLongError, 400, INVALID, "context_length_exceeded"),
    (NoChatTemplateError, 400, INVALID, "no_chat_template"),
    (InvalidRequestError, 400, INVALID, None),
    (QueueFullError, 503, SERVER, "queue_full"),
    (ModelOutOfServiceError, 503, SERVER, "model_out_of_service"),
    (RunnerCrashedError, 500, SERVER, "runner_crashed"),
    (NotEnoughMemoryError, 503, SERVER, "not_enough_memory"),
    (ModelUnavailableError, 503, SERVER, "model_unavailable"),
    (RequestTimeoutError, 504, SERVER, "timeout"),
    (UsageError, 400, INVALID, None),
    (ProtocolError, 400, INVALID, None),
    (AgentError, 500, SERVER, None),
]


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a client sees it; ``retry_after_s`` is in seconds, 0 for none."""

    status: int
    message: str
    kind: str = INVALID
    code: str | None = None
    param: str | None = None
    retry_after_s: float = 0.0

    def body(self, path: str) -> dict[str, object]:
        """The error in the form of the dialect that a path belongs to."""
        if path.startswith(OLLAMA_PREFIX):
            return {"error": self.message}
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self, path: str) -> JSONResponse:
        """The error as an answer to a request for a path."""
        headers = {}
        if self.retry_after_s:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.status == 401:  # noqa: PLR2004 - the status that RFC 9110 ties this header to
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(path), self.status, headers)


def describe(error: AgentError | ProtocolError) -> Problem:
    """What an error of the agent's means to a client."""
    if isinstance(error, BadRequestError):
        return Problem(400, str(error), INVALID, error.code, error.param)
    status, kind, code = next((s, k, c) for cls, s, k, c in _KINDS if isinstance(error, cls))
    param = "model" if isinstance(error, ModelNotFoundError) else None
    wait = error.retry_after_s if isinstance(error, QueueFullError | ModelOutOfServiceError) else 0.0
    return Problem(status, str(error), kind, code, param, wait)


def on_agent_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for errors of the agent's."""
    if not isinstance(error, AgentError | ProtocolError):
        raise TypeError("not an error of the agent") from error
    return describe(error).response(request.url.path)


def on_http_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for its own errors: no such path, no such method."""
    if not isinstance(error, HTTPException):
        raise TypeError("not an HTTP error") from error
    response = Problem(error.status_code, error.detail).response(request.url.path)
    response.headers.update(error.headers or {})
    return response


def on_unexpected_error(request: Request, error: Exception) -> Response:
    """The last resort: the client learns that it was ours, the log learns what."""
    log.error("unexpected_error", error=repr(error), exc_info=error)
    return Problem(500, "internal error; see the agent's log", SERVER).response(request.url.path)

"""Errors in the form that OpenAI's clients expect: ``{"error": {message, type, param, code}}``."""

import math

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from skerry_agent.errors import AgentError, UsageError
from skerry_agent.registry import ModelNotFoundError
from skerry_agent.runtime import (
    InvalidRequestError,
    ModelOutOfServiceError,
    ModelUnavailableError,
    NoChatTemplateError,
    PromptTooLongError,
    QueueFullError,
    RunnerCrashedError,
)

log = structlog.get_logger(__name__)

_CODES: list[tuple[type[AgentError], int, str, str | None]] = [
    (ModelNotFoundError, 404, "invalid_request_error", "model_not_found"),
    (PromptTooLongError, 400, "invalid_request_error", "context_length_exceeded"),
    (NoChatTemplateError, 400, "invalid_request_error", "no_chat_template"),
    (InvalidRequestError, 400, "invalid_request_error", None),
    (QueueFullError, 503, "server_error", "queue_full"),
    (ModelOutOfServiceError, 503, "server_error", "model_out_of_service"),
    (RunnerCrashedError, 500, "server_error", "runner_crashed"),
    (ModelUnavailableError, 503, "server_error", "model_unavailable"),
    (UsageError, 400, "invalid_request_error", None),
    (AgentError, 500, "server_error", None),
]


class BadRequestError(UsageError):
    """A field of the request is wrong or asks for something that is not there."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        """Build the error; ``param`` names the field."""
        super().__init__(message)
        self.param = param
        self.code = code


def error_body(message: str, kind: str, code: str | None, param: str | None = None) -> dict[str, object]:
    """One error object."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def describe(error: AgentError) -> tuple[int, dict[str, object]]:
    """HTTP status and body for an error of the agent's."""
    if isinstance(error, BadRequestError):
        return 400, error_body(str(error), "invalid_request_error", error.code, error.param)
    status, kind, code = next((s, k, c) for cls, s, k, c in _CODES if isinstance(error, cls))
    param = "model" if isinstance(error, ModelNotFoundError) else None
    return status, error_body(str(error), kind, code, param)


def on_agent_error(_request: Request, error: Exception) -> Response:
    """Starlette's handler for errors of the agent's."""
    if not isinstance(error, AgentError):
        raise TypeError("not an error of the agent") from error
    status, body = describe(error)
    headers = {}
    if isinstance(error, QueueFullError | ModelOutOfServiceError):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return JSONResponse(body, status, headers)


def on_http_error(_request: Request, error: Exception) -> Response:
    """Starlette's handler for its own errors: no such path, no such method."""
    if not isinstance(error, HTTPException):
        raise TypeError("not an HTTP error") from error
    return JSONResponse(
        error_body(error.detail, "invalid_request_error", None), error.status_code, error.headers
    )


def on_unexpected_error(_request: Request, error: Exception) -> Response:
    """The last resort: the client learns that it was ours, the log learns what."""
    log.error("unexpected_error", error=repr(error), exc_info=error)
    return JSONResponse(error_body("internal error; see the agent's log", "server_error", None), 500)

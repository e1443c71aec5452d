"""Every error of the operator API has one form: ``{"code": …, "message": …}``."""

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from skerry_controller.errors import ConflictError, ControllerError, NotFoundError, PeerError, WorldError
from skerry_controller.operator_api.admins import UnauthorizedError
from skerry_controller.repository import StalePublicationError
from skerry_protocol.errors import NameSyntaxError, ProtocolError

log = structlog.get_logger(__name__)

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnauthorizedError, 401),
    (NotFoundError, 404),
    (ConflictError, 409),
    (StalePublicationError, 409),
    (PeerError, 422),
    (WorldError, 503),
    (ControllerError, 400),
    (NameSyntaxError, 400),
    (ProtocolError, 422),
)
"""The first class that fits decides."""


class ErrorBody(BaseModel):
    """The answer when something is wrong: a stable code for programs, a message for people."""

    code: str
    message: str


def install_error_answers(app: FastAPI) -> None:
    """Turn our errors into answers; what nobody foresaw becomes a 500 without its details."""
    for kind in (ControllerError, ProtocolError):
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)


def error_answer(status: int, code: str, message: str) -> JSONResponse:
    """One error answer."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None  # noqa: PLR2004 - RFC 9110, 11.6.1
    return JSONResponse({"code": code, "message": message}, status, headers)


async def _known(_: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    if isinstance(error, StalePublicationError):
        code = "stale"
    elif isinstance(error, ControllerError):
        code = error.code
    else:
        code = "name_syntax" if isinstance(error, NameSyntaxError) else "malformed"
    return error_answer(status, code, str(error))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return error_answer(422, "malformed", f"{where}: {first['msg']}")


async def _http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http")
    return error_answer(error.status_code, code, str(error.detail))


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return error_answer(500, "internal", "the controller failed on this request: look into its log")

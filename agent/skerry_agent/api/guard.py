"""What every request must pass: the Host header (DNS rebinding) and a body limit; and its id in the log."""

import secrets

import structlog
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skerry_agent.api.errors import error_body


class _BodyTooLargeError(Exception):
    """The body went over the limit while it was read."""


def host_of(header: str) -> str:
    """The Host header without its port, in lower case."""
    host = header.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


class Guard:
    """ASGI middleware in front of everything else.

    A web page that makes its name resolve to 127.0.0.1 still sends its own name as Host: it is refused.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: frozenset[str], max_body_bytes: int) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        request_id = headers.get("x-request-id", "")[:64] or secrets.token_hex(8)
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        with structlog.contextvars.bound_contextvars(request=request_id):
            await self._admit(scope, headers, receive, _with_request_id(send, request_id))

    async def _admit(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        if self._allowed_hosts and host_of(headers.get("host", "")) not in self._allowed_hosts:
            await _refuse(403, "this Host header is not among api.allowed_hosts")(scope, receive, send)
            return
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._max_body_bytes:
            await self._too_large()(scope, receive, send)
            return
        started = False
        seen = 0

        async def limited_receive() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_body_bytes:
                raise _BodyTooLargeError
            return message

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, limited_receive, watched_send)
        except _BodyTooLargeError:
            if not started:
                await self._too_large()(scope, receive, send)

    def _too_large(self) -> JSONResponse:
        return _refuse(413, f"the request body is over api.max_body_bytes ({self._max_body_bytes})")


def _refuse(status: int, message: str) -> JSONResponse:
    return JSONResponse(error_body(message, "invalid_request_error", None), status)


def _with_request_id(send: Send, request_id: str) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", request_id.encode("latin-1", "replace")),
            ]
        await send(message)

    return wrapped

"""What every request must pass: Host and Origin headers, and a body limit; and its id in the log."""

import asyncio
import contextlib
import secrets

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skerry_agent.api.errors import Problem

MAX_DISCARDED_BYTES = 64 * 1024 * 1024
DISCARD_TIMEOUT_S = 2.0


class _BodyTooLargeError(Exception):
    """The body went over the limit while it was read."""


def host_of(header: str) -> str:
    """The Host header without its port, in lower case."""
    host = header.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def host_of_origin(header: str) -> str:
    """The host of an Origin header, in lower case; what is no origin of a page stays as it is."""
    return host_of(header.rpartition("//")[2])


class Guard:
    """ASGI middleware in front of everything else.

    A web page that makes its name resolve to 127.0.0.1 still sends its own name as Host: it is refused. So is
    a page from elsewhere that posts to 127.0.0.1 by its number: browsers then send the page's Origin.
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
        problem = self._refusal(headers)
        if problem is not None:
            if _may_be_discarded(headers):
                await _discard(receive)
            await problem.response(scope["path"])(scope, receive, send)
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
                await _discard(receive)
                await self._too_large().response(scope["path"])(scope, receive, send)

    def _refusal(self, headers: Headers) -> Problem | None:
        hosts = self._allowed_hosts
        if hosts and host_of(headers.get("host", "")) not in hosts:
            return Problem(403, "this Host header is not among api.allowed_hosts")
        origin = headers.get("origin")
        if hosts and origin is not None and host_of_origin(origin) not in hosts:
            return Problem(403, "this Origin header is not among api.allowed_hosts: a web page sent this")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._max_body_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> Problem:
        return Problem(413, f"the request body is over api.max_body_bytes ({self._max_body_bytes})")


def _may_be_discarded(headers: Headers) -> bool:
    """Whether a body comes unasked, and is not so long that it could not be read to its end."""
    length = headers.get("content-length", "0")
    asks = headers.get("expect", "").lower() == "100-continue"
    return not asks and length.isdigit() and int(length) <= MAX_DISCARDED_BYTES


async def _discard(receive: Receive) -> None:
    """Read the rest of a body that nobody wants, within bounds.

    An answer and a closed connection while the client still sends make its kernel drop the answer unread.
    """
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_TIMEOUT_S):
            while seen <= MAX_DISCARDED_BYTES:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                seen += len(message.get("body", b""))


def _with_request_id(send: Send, request_id: str) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", request_id.encode("latin-1", "replace")),
            ]
        await send(message)

    return wrapped

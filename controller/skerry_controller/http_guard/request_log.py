"""Logs each request, and binds its id to every line that is logged on its way."""

import secrets
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger(__name__)

_ID_BYTES = 6


class RequestLog:
    """ASGI middleware. Query strings are left out: they may carry capabilities."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.monotonic()

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with structlog.contextvars.bound_contextvars(request=secrets.token_hex(_ID_BYTES)):
            try:
                await self._app(scope, receive, note_status)
            finally:
                milliseconds = round((time.monotonic() - started) * 1000, 1)
                write = log.debug if scope["path"] == "/health" else log.info
                write("request", method=scope["method"], path=scope["path"], status=status, ms=milliseconds)

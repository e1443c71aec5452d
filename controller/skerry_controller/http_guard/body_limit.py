"""Refuses request bodies over a limit before anything reads them into memory."""

import contextlib
from collections.abc import Callable

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAYLOAD_TOO_LARGE = 413


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """ASGI middleware: answers 413 with our form of errors."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int,
        is_exempt: Callable[[str, str], bool] = lambda _method, _path: False,
    ) -> None:
        """Guard an application.

        Args:
            app: What is guarded.
            max_bytes: Largest accepted body.
            is_exempt: Whether a method and path bound their bodies themselves.
        """
        self._app = app
        self._max_bytes = max_bytes
        self._is_exempt = is_exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection scope."""
        if scope["type"] != "http" or self._is_exempt(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        declared = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await _refuse(send, self._max_bytes)
            return
        await _Exchange(self._app, self._max_bytes).run(scope, receive, send)


class _Exchange:
    """One request whose body is counted. What the application answers to a cut body is not sent."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._received = 0
        self._answering = False

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting_receive() -> Message:
            message = await receive()
            self._received += len(message.get("body", b""))
            if self._exceeded:
                raise _TooLargeError
            return message

        async def filtering_send(message: Message) -> None:
            if self._answering or not self._exceeded:
                self._answering = True
                await send(message)

        with contextlib.suppress(_TooLargeError):
            await self._app(scope, counting_receive, filtering_send)
        if self._exceeded and not self._answering:
            await _refuse(send, self._max_bytes)

    @property
    def _exceeded(self) -> bool:
        return self._received > self._max_bytes


async def _refuse(send: Send, max_bytes: int) -> None:
    body = msgspec.json.encode(
        {"v": 1, "code": "too_large", "message": f"the request's body exceeds the limit of {max_bytes} bytes"}
    )
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": PAYLOAD_TOO_LARGE, "headers": headers})
    await send({"type": "http.response.body", "body": body})

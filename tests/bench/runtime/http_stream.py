"""A small HTTP client for measuring: one request a connection, streamed answers, a time for each piece.

General clients cost a few hundred microseconds a piece, on the cores that the measured server needs.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec

HOST = "127.0.0.1"
REQUEST_DEADLINE_S = 180.0
READ_LIMIT_BYTES = 1 << 20


class PeerError(RuntimeError):
    """A server did not answer as it has to."""


@dataclass(slots=True)
class Answer:
    """One answer. Times are of ``time.perf_counter``, in seconds; 0 for what did not come.

    Attributes:
        status: HTTP status; 0 when the connection ended before it.
        text: The text of all pieces.
        pieces: Pieces with text.
        tokens: Tokens of the answer: from its usage, else the limit when it was reached, else the pieces.
        prompt_tokens: Tokens of the prompt, from the usage; 0 when the server does not tell.
        cached_tokens: Those of them that were not read anew, where the server tells.
        finish: Why it ended, in OpenAI's words.
        error: The error of the body or of an event.
        complete: Whether it came to its proper end: ``[DONE]``, or a whole body.
        abandoned: Whether this client closed the connection on purpose.
    """

    sent_at: float
    status: int = 0
    text: str = ""
    pieces: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    ended_at: float = 0.0
    finish: str | None = None
    error: Any = None
    complete: bool = False
    abandoned: bool = False

    @property
    def first_token_s(self) -> float:
        """From sending to the first text."""
        return self.first_at - self.sent_at

    @property
    def decode_rate(self) -> float:
        """Tokens after the first, by the time that they took."""
        took = self.last_at - self.first_at
        return (self.tokens - 1) / took if took > 0 and self.tokens > 1 else 0.0

    def take(self, event: Any, now: float) -> None:
        """Add one event of a stream, or a whole body."""
        if not isinstance(event, dict):
            raise PeerError(f"an event is no object: {event!r}")
        if event.get("error") is not None:
            self.error = event["error"]
        for choice in event.get("choices") or ():
            part = choice.get("delta") or choice.get("message") or {}
            text = part.get("content") or choice.get("text") or ""
            if text:
                self.pieces += 1
                self.text += text
                self.first_at = self.first_at or now
                self.last_at = now
            self.finish = choice.get("finish_reason") or self.finish
        usage = event.get("usage")
        if usage:
            self.tokens = usage.get("completion_tokens", 0)
            self.prompt_tokens = usage.get("prompt_tokens", 0)
            self.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0


async def ask(
    port: int,
    path: str,
    body: bytes,
    *,
    max_tokens: int = 0,
    deadline_s: float = REQUEST_DEADLINE_S,
    abandon_after: int | None = None,
    abandon_after_s: float | None = None,
) -> Answer:
    """Send one request and read its answer to the end.

    Args:
        port: Of the server, on loopback.
        path: Of the URL.
        body: JSON.
        max_tokens: The limit inside ``body``, to count tokens where the server does not.
        deadline_s: For all of it, in seconds.
        abandon_after: Close the connection after so many pieces.
        abandon_after_s: Close the connection after so many seconds.

    Raises:
        TimeoutError: It took longer than ``deadline_s``.
        PeerError: The answer is not HTTP, or its events are not JSON.
    """
    answer = Answer(sent_at=time.perf_counter())
    async with asyncio.timeout(deadline_s):
        try:
            async with asyncio.timeout(abandon_after_s):
                await _converse(port, path, body, answer, abandon_after)
        except TimeoutError:
            if abandon_after_s is None or time.perf_counter() - answer.sent_at >= deadline_s:
                raise
            answer.abandoned = True
    answer.ended_at = time.perf_counter()
    if not answer.tokens:
        answer.tokens = max_tokens if answer.finish == "length" and max_tokens else answer.pieces
    return answer


async def _converse(port: int, path: str, body: bytes, answer: Answer, abandon_after: int | None) -> None:
    writer: asyncio.StreamWriter | None = None
    try:
        reader, writer = await asyncio.open_connection(HOST, port, limit=READ_LIMIT_BYTES)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer.sent_at = time.perf_counter()
        await _read(reader, answer, abandon_after)
    except (ConnectionError, asyncio.IncompleteReadError):
        # How far it came is in the answer: whoever asked decides whether that is an error.
        answer.complete = False
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader, answer: Answer, abandon_after: int | None) -> None:
    headers = await _read_head(reader, answer)
    chunked = headers.get("transfer-encoding", "").lower() == "chunked"
    blocks = _chunks(reader) if chunked else _plain(reader, int(headers.get("content-length", "-1")))
    if not headers.get("content-type", "").startswith("text/event-stream"):
        whole = b"".join([block async for block in blocks])
        answer.take(_decoded(whole), time.perf_counter())
        answer.complete = True
        return
    rest = b""
    async for block in blocks:
        now = time.perf_counter()
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            _take_line(answer, line.strip(), now)
        if abandon_after is not None and answer.pieces >= abandon_after:
            answer.abandoned = True
            return


async def _read_head(reader: asyncio.StreamReader, answer: Answer) -> dict[str, str]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) < 2 or not parts[1].isdigit():
        raise PeerError(f"no HTTP status line: {lines[0]!r}")
    answer.status = int(parts[1])
    pairs = (line.partition(":") for line in lines[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _take_line(answer: Answer, line: bytes, now: float) -> None:
    name, _, data = line.partition(b":")
    if name == b"error":
        answer.error = data.decode("utf-8", "replace")
    if name != b"data":
        return
    data = data.strip()
    if data == b"[DONE]":
        answer.complete = True
    else:
        answer.take(_decoded(data), now)


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise PeerError(f"no JSON: {data[:200]!r}") from error


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)


async def _plain(reader: asyncio.StreamReader, length: int) -> AsyncIterator[bytes]:
    if length >= 0:
        yield await reader.readexactly(length)
        return
    while block := await reader.read(READ_LIMIT_BYTES):
        yield block

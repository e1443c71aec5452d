"""The bench's client: what it counts, and when."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.runtime.http_stream import PeerError, ask

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = STREAM + b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: bytes) -> bytes:
    return chunk(b"data: " + data + b"\n\n")


@asynccontextmanager
async def serving(*pieces: bytes) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_stream_is_counted_by_its_usage() -> None:
    pieces = (
        CHUNKED,
        event(b'{"choices":[{"delta":{"role":"assistant"}}]}'),
        event(b'{"choices":[{"delta":{"content":"one"}}]}'),
        # One chunk may end in the middle of an event.
        chunk(b'data: {"choices":[{"delta":{"content"'),
        chunk(b':" two"},"finish_reason":"length"}]}\n\n'),
        event(b'{"choices":[],"usage":{"completion_tokens":5,"prompt_tokens":7}}'),
        event(b"[DONE]"),
        chunk(b""),
    )
    async with serving(*pieces) as port:
        answer = await ask(port, "/", b"{}")
    assert (answer.text, answer.pieces, answer.tokens, answer.prompt_tokens) == ("one two", 2, 5, 7)
    assert answer.complete
    assert answer.sent_at < answer.first_at <= answer.last_at <= answer.ended_at


async def test_without_usage_a_full_answer_has_as_many_tokens_as_its_limit() -> None:
    pieces = (CHUNKED, event(b'{"choices":[{"text":"abc","finish_reason":"length"}]}'), event(b"[DONE]"))
    async with serving(*pieces, chunk(b"")) as port:
        answer = await ask(port, "/", b"{}", max_tokens=4)
    assert answer.tokens == 4


async def test_a_torn_stream_is_not_complete() -> None:
    async with serving(CHUNKED, event(b'{"choices":[{"text":"a"}]}')) as port:
        answer = await ask(port, "/", b"{}")
    assert (answer.status, answer.text, answer.complete) == (200, "a", False)


async def test_an_error_has_a_status_and_a_body() -> None:
    body = b'{"error":{"message":"no"}}'
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    async with serving(head % len(body), body) as port:
        answer = await ask(port, "/", b"{}")
    assert (answer.status, answer.error, answer.complete) == (400, {"message": "no"}, True)


async def test_it_leaves_after_so_many_pieces() -> None:
    pieces = (event(b'{"choices":[{"text":"%d"}]}' % n) for n in range(5))
    async with serving(CHUNKED, *pieces) as port:
        answer = await ask(port, "/", b"{}", abandon_after=1)
    assert answer.abandoned
    assert not answer.complete


async def test_what_is_no_json_is_an_error() -> None:
    async with serving(CHUNKED, event(b"nonsense")) as port:
        with pytest.raises(PeerError, match="no JSON"):
            await ask(port, "/", b"{}")

"""The daemon's HTTP servers under programs that misbehave."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from skerry_agent.daemon.connections import ConnectionLimits
from skerry_agent.daemon.servers import bind_tcp, make_server

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def serving(limits: ConnectionLimits) -> AsyncIterator[int]:
    async def hello(_: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    listener = bind_tcp("127.0.0.1", 0)
    server = make_server(Starlette(routes=[Route("/", hello)]), stop_timeout_s=1, connections=limits)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await server.ready.wait()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listener.close()


def ask(port: int, sent: bytes = REQUEST) -> bytes:
    with (
        contextlib.suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        connection.sendall(sent)
        return connection.recv(1000)
    return b""


async def test_programs_that_hold_connections_open_are_cut_off_and_others_served() -> None:
    async with serving(ConnectionLimits(max_connections=3, request_deadline_s=0.3)) as port:
        held = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]
        try:
            # The kernel hands connections over in their order, so the three are counted.
            assert await asyncio.to_thread(ask, port) == b""
            for connection in held:
                assert await asyncio.to_thread(connection.recv, 10) == b""
            assert (await asyncio.to_thread(ask, port)).startswith(b"HTTP/1.1 200")
        finally:
            for connection in held:
                connection.close()


async def test_a_head_that_trickles_in_is_cut_off() -> None:
    async with serving(ConnectionLimits(request_deadline_s=0.3)) as port:
        assert await asyncio.to_thread(ask, port, REQUEST[:-4]) == b""

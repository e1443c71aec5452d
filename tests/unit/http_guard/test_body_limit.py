from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from skerry_controller.http_guard import BodyLimit


async def echo_length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=[Route("/{rest:path}", echo_length, methods=["POST", "PUT"])])
    guarded = BodyLimit(app, max_bytes=10, is_exempt=lambda method, path: (method, path) == ("PUT", "/big"))
    transport = httpx.ASGITransport(guarded)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def in_pieces(length: int) -> AsyncIterator[bytes]:
    for _ in range(length):
        yield b"x"


async def test_a_body_up_to_the_limit_passes(client: httpx.AsyncClient) -> None:
    assert (await client.post("/", content=b"x" * 10)).text == "10"


async def test_a_declared_length_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/", content=b"x" * 11)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


async def test_a_body_that_grows_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/", content=in_pieces(11))).status_code == 413


async def test_an_exempt_route_bounds_itself(client: httpx.AsyncClient) -> None:
    assert (await client.put("/big", content=b"x" * 100)).text == "100"
    assert (await client.post("/big", content=b"x" * 100)).status_code == 413

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
import requests

from skerry_agent.updates import SourceError, Traffic
from skerry_agent.updates.sources import HttpLimits, HttpSource
from skerry_protocol.manifest import Chunk
from skerry_protocol.requests import Capability
from support.range_server import RangeServer, range_server
from support.registry import bytes_of, chunks_of, random_bytes

DATA = random_bytes(50_000, 3)
CHUNKS = chunks_of(DATA, 4096)
SHA = "a" * 64


class Capabilities:
    def __init__(self, *urls: str) -> None:
        self.urls = urls
        self.asked = 0

    async def capability(self, sha256: str) -> Capability:
        self.asked += 1
        return Capability(
            device="d",
            request="r",
            issued_at=0,
            expires_at=1,
            sha256=sha256,
            urls=self.urls,
            authority_pem="pem",
        )


def open_session(authority_pem: str | None) -> requests.Session:
    assert authority_pem == "pem"
    session = requests.Session()
    session.trust_env = False
    return session


class Ticking:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with range_server(DATA) as running:
        yield running


def source(
    capabilities: Capabilities,
    clock: Ticking | None = None,
    max_range: int = 1 << 20,
    traffic: Traffic | None = None,
    max_attempts: int = 4,
) -> HttpSource:
    limits = HttpLimits(
        connect_timeout_s=2.0,
        read_timeout_s=2.0,
        max_range_bytes=max_range,
        max_attempts=max_attempts,
        progress_bytes=4096,
        retry_initial_s=0.001,
        retry_max_s=0.002,
        max_waste_bytes=8192,
    )
    return HttpSource(
        capabilities,
        open_session,
        limits=limits,
        monotonic=clock or Ticking(),
        uniform=lambda _, high: high,
        traffic=traffic,
    )


async def take(source: HttpSource, chunks: list[Chunk]) -> list[Chunk]:
    got = []
    async for chunk, data in source.read(SHA, chunks):
        assert data == bytes_of(DATA, chunk)
        got.append(chunk)
    return got


async def test_neighbouring_chunks_come_in_one_request(server: RangeServer) -> None:
    wanted = [*CHUNKS[:3], *CHUNKS[6:8]]
    assert await take(source(Capabilities(server.url)), wanted) == wanted
    assert server.requests == ["bytes=0-12287", "bytes=24576-32767"]


async def test_a_long_stretch_is_cut(server: RangeServer) -> None:
    assert await take(source(Capabilities(server.url), max_range=8192), list(CHUNKS[:5])) == list(CHUNKS[:5])
    assert len(server.requests) == 3


async def test_a_server_that_ignores_ranges_is_read_through_once(server: RangeServer) -> None:
    server.behaviour = "ignores_range"
    wanted = [CHUNKS[2], CHUNKS[4], CHUNKS[5], *CHUNKS[8:]]
    traffic = Traffic()
    assert await take(source(Capabilities(server.url), traffic=traffic), wanted) == wanted
    assert len(server.requests) == 1
    assert traffic.total_bytes == len(DATA)  # what was skipped is counted as well


async def test_a_server_that_ignores_ranges_is_left_when_most_would_be_read_for_nothing(
    server: RangeServer,
) -> None:
    server.behaviour = "ignores_range"
    traffic = Traffic()
    with pytest.raises(SourceError, match="ignores ranges: 50000 bytes would have to be read for 848"):
        await take(source(Capabilities(server.url), traffic=traffic), [CHUNKS[-1]])
    assert traffic.total_bytes == 0


@pytest.mark.parametrize("behaviour", ["500", "resets", "short", "closes", "short_length"])
async def test_what_breaks_off_every_second_time_is_gone_on_with_where_it_was(
    server: RangeServer, behaviour: str
) -> None:
    server.choose = lambda number: behaviour if number % 2 == 0 else "good"
    traffic = Traffic()
    tried = source(Capabilities(server.url), max_range=4096, traffic=traffic)
    assert await take(tried, list(CHUNKS)) == list(CHUNKS)
    assert traffic.total_bytes == len(DATA)  # nothing came twice, not even half a chunk


async def test_a_chunk_larger_than_what_comes_before_a_reset_is_put_together(server: RangeServer) -> None:
    server.choose = lambda number: "resets" if number < 5 else "good"
    whole = Chunk(0, len(DATA), "0" * 64)
    traffic = Traffic()
    got = source(Capabilities(server.url), traffic=traffic).read(SHA, [whole])
    assert (await anext(got))[1] == DATA
    await got.aclose()
    assert traffic.total_bytes == len(DATA)
    assert len(server.requests) == 5


@pytest.mark.parametrize("behaviour", ["endless", "long_length"])
async def test_more_than_was_asked_for_is_not_read(server: RangeServer, behaviour: str) -> None:
    server.behaviour = behaviour
    traffic = Traffic()
    assert await take(source(Capabilities(server.url), traffic=traffic), list(CHUNKS[1:3])) == list(
        CHUNKS[1:3]
    )
    assert traffic.total_bytes == 8192


@pytest.mark.parametrize(
    ("header", "pause_s"), [("40", 60), ("100000", 5400), ("Wed, 21 Oct 2015 07:28:00 GMT", 15), ("x", 15)]
)
async def test_a_busy_server_is_left_alone_for_as_long_as_it_says(
    server: RangeServer, header: str, pause_s: float
) -> None:
    server.behaviour, server.retry_after = "503", header
    with pytest.raises(SourceError, match="503") as caught:
        await take(source(Capabilities(server.url)), list(CHUNKS))
    assert caught.value.retry_after_s == pytest.approx(pause_s)
    assert len(server.requests) == (4 if header == "x" else 1)


async def test_a_limit_holds_back_what_is_read(server: RangeServer) -> None:
    traffic = Traffic(lambda: 100_000)
    began = time.monotonic()
    await take(source(Capabilities(server.url), traffic=traffic), list(CHUNKS))
    assert 0.4 < time.monotonic() - began < 2.0


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("short", "early|IncompleteRead|Incomplete"),
        ("wrong_range", "got 'bytes 0-"),
        ("encoded", "encoding"),
        ("redirect", "302"),
        ("404", "404"),
        ("500", "500"),
        ("416", "416"),
    ],
)
async def test_a_bad_answer_ends_the_source(server: RangeServer, behaviour: str, message: str) -> None:
    server.behaviour = behaviour
    with pytest.raises(SourceError, match=message) as caught:
        await take(source(Capabilities(server.url), max_attempts=1), list(CHUNKS[1:3]))
    assert "secret" not in str(caught.value)


async def test_an_expired_capability_is_asked_for_anew_once(server: RangeServer) -> None:
    server.refuse = 1
    capabilities = Capabilities(server.url)
    assert await take(source(capabilities), list(CHUNKS)) == list(CHUNKS)
    assert capabilities.asked == 2
    server.refuse = 5
    with pytest.raises(SourceError, match="403"):
        await take(source(capabilities), list(CHUNKS))
    assert capabilities.asked == 4


async def test_the_next_address_goes_on_with_what_is_missing(server: RangeServer) -> None:
    with range_server(DATA) as other:
        server.behaviour = "500"
        assert await take(source(Capabilities(server.url, other.url)), list(CHUNKS)) == list(CHUNKS)


async def test_an_unreachable_server_fails_quickly_and_rests() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    capabilities = Capabilities(f"https://127.0.0.1:{port}/v1/blobs/x?capability=secret")
    clock = Ticking()
    tried = source(capabilities, clock)
    with pytest.raises(SourceError, match="Connection refused") as caught:
        await take(tried, list(CHUNKS))
    assert "secret" not in str(caught.value)
    with pytest.raises(SourceError, match="asked again in 15 s"):
        await take(tried, list(CHUNKS))
    assert capabilities.asked == 1
    clock.now = 16.0
    with pytest.raises(SourceError, match="Connection refused"):
        await take(tried, list(CHUNKS))
    with pytest.raises(SourceError, match="asked again in 30 s"):
        await take(tried, list(CHUNKS))


async def test_no_address_is_said_so() -> None:
    with pytest.raises(SourceError, match="no address"):
        await take(source(Capabilities()), list(CHUNKS))


async def test_leaving_early_closes_the_connection(server: RangeServer) -> None:
    stream = source(Capabilities(server.url)).read(SHA, CHUNKS)
    chunk, data = await anext(stream)
    assert data == bytes_of(DATA, chunk)
    await stream.aclose()


async def test_a_stalled_server_does_not_hold_up_a_cancelled_download(server: RangeServer) -> None:
    server.behaviour = "stalls"
    limits = HttpLimits(read_timeout_s=25.0)
    stalling = HttpSource(Capabilities(server.url), open_session, limits=limits)
    taking = asyncio.create_task(take(stalling, [*CHUNKS]))
    await asyncio.to_thread(server.stalled.wait, 10)
    # Let the reader come to where the bytes end.
    await asyncio.sleep(0.1)
    began = time.monotonic()
    taking.cancel()
    await asyncio.wait({taking})
    assert time.monotonic() - began < 2.0
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.monotonic() - began < 5.0


async def test_a_stalled_server_is_given_up_after_the_read_timeout(server: RangeServer) -> None:
    server.behaviour = "stalls"
    limits = HttpLimits(read_timeout_s=0.2, max_attempts=1)
    with pytest.raises(SourceError, match="timed out"):
        await take(HttpSource(Capabilities(server.url), open_session, limits=limits), [*CHUNKS])

"""Downloads over servers and brokers that do what they should not: the right bytes, or a reason."""

import random
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import pytest
import requests

from skerry_agent.registry import PartialDownload
from skerry_agent.updates import UpdateLimits
from skerry_agent.updates.ports import P
from skerry_agent.updates.sources import HttpLimits, HttpSource
from skerry_protocol.manifest import Chunk
from skerry_protocol.requests import Capability
from support.range_server import RangeServer, range_server
from support.updates import CHANNEL, MemorySource, Published, World

LIMITS = HttpLimits(
    connect_timeout_s=2.0,
    read_timeout_s=0.5,
    max_range_bytes=64 * 1024,
    progress_bytes=8 * 1024,
    retry_initial_s=0.001,
    retry_max_s=0.002,
)


class Capabilities:
    """Gives every blob the server's address."""

    def __init__(self, server: RangeServer) -> None:
        self._server = server

    async def capability(self, sha256: str) -> Capability:
        return Capability(
            device="d", request="r", issued_at=0, expires_at=1, sha256=sha256, urls=(self._server.url,)
        )


class EverySecondTime(MemorySource):
    """Brings one piece, then is down, and so on."""

    async def read(self, blob_sha256: str, pieces: Sequence[P]) -> AsyncGenerator[tuple[P, bytes], None]:
        self.stop_after, self.down = 1, self.calls % 2 == 1
        async for found in super().read(blob_sha256, pieces):
            yield found


class Moody(MemorySource):
    """Brings some pieces, or none, by lot."""

    def __init__(self, lot: random.Random) -> None:
        super().__init__()
        self._lot = lot

    async def read(self, blob_sha256: str, pieces: Sequence[P]) -> AsyncGenerator[tuple[P, bytes], None]:
        self.down, self.stop_after = self._lot.random() < 0.3, self._lot.choice((0, 1, 2, 5))
        async for found in super().read(blob_sha256, pieces):
            yield found


def open_session(_authority_pem: str | None) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


@pytest.fixture
def server(one: Published) -> Iterator[RangeServer]:
    with range_server(one.data) as running:
        yield running


@pytest.fixture
def online(world: World, one: Published, server: RangeServer) -> World:
    """A device that asks the HTTP server first, and then ``world.sources``."""
    world.before = lambda: [
        HttpSource(
            Capabilities(server),
            open_session,
            traffic=world.traffic,
            limits=LIMITS,
            monotonic=world.clock.monotonic,
            uniform=lambda _, high: high,
        )
    ]
    world.limits = UpdateLimits(progress_s=0.0, stall_s=0.3)
    world.publish(one)
    return world


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Counter[Chunk]:
    """How often each chunk came over the network and was right."""
    taken: Counter[Chunk] = Counter()
    real = PartialDownload.take

    def take(self: PartialDownload, chunk: Chunk, data: bytes) -> bool:
        right = real(self, chunk, data)
        taken[chunk] += right
        return right

    monkeypatch.setattr(PartialDownload, "take", take)
    return taken


def wanted_bytes(one: Published) -> int:
    """Bytes of the file, with chunks that it has twice counted once."""
    return sum({chunk.sha256: chunk.length for chunk in one.entry.chunks}.values())


async def finish(world: World, one: Published, kept: Counter[Chunk]) -> int:
    """Update, check that each chunk was fetched once, and return the bytes that this took."""
    await world.start()
    await world.follow(1, {CHANNEL: one})
    report = await world.until("committed")
    assert (await world.registry.find(CHANNEL)).path.read_bytes() == one.data
    assert set(kept.values()) == {1}
    right = sum(chunk.length for chunk in kept)
    # A few small chunks are found in others that came before.
    assert wanted_bytes(one) - 1000 < right <= wanted_bytes(one)
    assert report.bytes_fetched == world.traffic.total_bytes >= right
    return report.bytes_fetched


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("loss", ["closes", "resets"])
async def test_a_link_that_loses_requests_brings_every_chunk_once(
    online: World, server: RangeServer, one: Published, kept: Counter[Chunk], share: float, loss: str
) -> None:
    draw = random.Random(f"{share} {loss}")  # noqa: S311 - repeatable
    server.choose = lambda _number: loss if draw.random() < share else "good"
    online.sources[0].down = True
    fetched = await finish(online, one, kept)
    # At most the chunk that was under way is lost each time that the server is given up for a while.
    assert fetched <= wanted_bytes(one) + 64 * 1024 * len(online.clock.pauses)


@pytest.mark.parametrize(
    "behaviour",
    [
        "404",
        "416",
        "500",
        "redirect",
        "encoded",
        "200_for_206",
        "wrong_range",
        "wrong_bytes",
        "short",
        "short_length",
        "closes",
        "stalls",
        "drips",
    ],
)
async def test_a_server_that_does_not_serve_is_left_for_the_next_source(
    online: World, server: RangeServer, one: Published, kept: Counter[Chunk], behaviour: str
) -> None:
    server.behaviour = behaviour
    await finish(online, one, kept)
    assert online.traffic.bytes_of("net") > wanted_bytes(one) // 2
    wrong = [data["source"] for data in online.events.of("chunk_rejected")]
    assert wrong == (["http"] if behaviour == "wrong_bytes" else [])


@pytest.mark.parametrize("behaviour", ["good", "ignores_range", "endless", "long_length"])
async def test_a_server_that_sends_more_than_it_should_serves(
    online: World, server: RangeServer, one: Published, kept: Counter[Chunk], behaviour: str
) -> None:
    server.behaviour = behaviour
    online.sources[0].down = True
    fetched = await finish(online, one, kept)
    assert fetched == (len(one.data) if behaviour == "ignores_range" else wanted_bytes(one))


async def test_both_sources_fail_in_turn(
    online: World, server: RangeServer, one: Published, kept: Counter[Chunk]
) -> None:
    server.choose = lambda number: "good" if number % 2 else "404"
    online.sources = [EverySecondTime()]
    online.publish(one)
    await finish(online, one, kept)
    assert server.requests[2:]
    assert online.traffic.bytes_of("http") > 0
    assert online.traffic.bytes_of("net") > 0


SPELLS = (
    *("404", "500", "redirect", "encoded", "200_for_206", "wrong_range", "wrong_bytes", "short"),
    *("short_length", "long_length", "ignores_range", "endless", "resets", "closes"),
)


@pytest.mark.parametrize("seed", range(6))
async def test_sources_that_fail_in_any_order_and_any_way_bring_every_chunk_once(
    online: World, server: RangeServer, one: Published, kept: Counter[Chunk], seed: int
) -> None:
    lot = random.Random(seed)  # noqa: S311 - repeatable
    server.choose = lambda _number: lot.choice(SPELLS) if lot.random() < 0.6 else "good"
    online.sources = [Moody(lot)]
    online.publish(one)
    await finish(online, one, kept)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("404", "http: the server answered 404; net: net is down"), ("wrong_range", "got 'bytes 0-")],
)
async def test_when_no_source_serves_the_report_says_why(
    online: World, server: RangeServer, one: Published, behaviour: str, reason: str
) -> None:
    server.behaviour = behaviour
    online.sources[0].down = True
    await online.start()
    await online.follow(1, {CHANNEL: one})
    report = await online.until_true(lambda r: r.reason is not None)
    assert report.state == "downloading"
    assert report.reason is not None
    assert report.reason.code == "sources_failed"
    # The first chunk is asked for at 0, where a wrong Content-Range cannot show.
    assert reason in report.reason.message or behaviour == "wrong_range"


async def test_all_sources_that_want_a_pause_are_given_it(
    online: World, server: RangeServer, one: Published
) -> None:
    server.behaviour, server.retry_after = "503", "200"
    online.sources[0].down, online.sources[0].retry_after_s = True, 500.0
    await online.start()
    await online.follow(1, {CHANNEL: one})
    report = await online.until_true(lambda r: r.waits_until is not None)
    assert report.waits_until == 300  # 200, and the spread over 100 s more
    server.behaviour = "good"
    await online.until("committed")
    assert online.clock.pauses == [300.0]
    assert server.requests[:2] == [server.requests[0]] * 2


async def test_wrong_bytes_from_the_only_source_are_waited_out(
    online: World, server: RangeServer, one: Published, kept: Counter[Chunk]
) -> None:
    server.behaviour = "wrong_bytes"
    online.sources[0].down = True
    await online.start()
    await online.follow(1, {CHANNEL: one})
    report: Any = await online.until_true(lambda r: r.state == "refused" and r.waits_until is not None)
    assert report.reason.code == "chunk_mismatch"
    assert report.waits_until >= 1800  # the clock of these tests begins at 0, and draws the longest pauses
    server.behaviour = "good"
    await online.until("committed")
    assert online.clock.pauses[-1] == 1800.0
    assert (await online.registry.find(CHANNEL)).path.read_bytes() == one.data

import hashlib
from collections.abc import AsyncGenerator, Sequence

import pytest

from skerry_agent.updates import Traffic, UpdateLimits
from skerry_agent.updates.network import Network
from skerry_agent.updates.ports import P, SourceError
from skerry_protocol.manifest import Chunk
from support.registry import RecordedEvents, bytes_of, chunks_of, random_bytes

DATA = random_bytes(20_000, 4)
CHUNKS = chunks_of(DATA, 1500)


class Source:
    """Brings ``DATA``, up to ``stop_after`` pieces, and the one at ``wrong`` damaged."""

    def __init__(self, name: str, *, stop_after: int = 1000, wrong: int = -1) -> None:
        self.name = name
        self.stop_after = stop_after
        self.wrong = wrong
        self.asked: list[int] = []

    async def read(self, blob_sha256: str, pieces: Sequence[P]) -> AsyncGenerator[tuple[P, bytes], None]:
        del blob_sha256
        self.asked.append(len(pieces))
        for number, piece in enumerate(pieces):
            if number == self.stop_after:
                raise SourceError("it stopped")
            data = DATA[piece.offset : piece.offset + piece.length]
            yield piece, bytes(piece.length) if piece.offset == self.wrong else data


def is_right(chunk: Chunk, data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == chunk.sha256


def make_network(sources: Sequence[Source]) -> Network:
    return Network(sources, Traffic(), RecordedEvents(), UpdateLimits())


async def take(network: Network) -> list[Chunk]:
    got = []
    async for chunk, data in network.read("a" * 64, CHUNKS, is_right):
        assert data == bytes_of(DATA, chunk)
        got.append(chunk)
    return got


async def test_the_next_source_goes_on_with_what_is_missing() -> None:
    first, second = Source("first", stop_after=3), Source("second")
    assert await take(make_network([first, second])) == list(CHUNKS)
    assert (first.asked, second.asked) == ([14], [11])


async def test_a_source_with_wrong_bytes_is_asked_last_from_then_on() -> None:
    wrong, failing, good = Source("wrong", wrong=1500), Source("failing", stop_after=0), Source("good")
    network = make_network([wrong, failing, good])
    await take(network)
    await take(network)
    assert (wrong.asked, failing.asked, good.asked) == ([14], [13], [13, 14])


async def test_when_none_can_go_on_each_one_s_problem_is_told() -> None:
    network = make_network([Source("a", wrong=0), Source("b", stop_after=1)])
    with pytest.raises(SourceError, match="a: wrong bytes; b: it stopped"):
        await take(network)

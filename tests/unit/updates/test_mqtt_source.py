import random
from collections.abc import AsyncIterator, Sequence

import pytest

from skerry_agent.errors import WorldError
from skerry_agent.updates import SourceError
from skerry_agent.updates.sources import MqttSource, Pace
from skerry_protocol.manifest import Chunk
from support.registry import bytes_of, chunks_of, random_bytes

DATA = random_bytes(20_000, 4)
CHUNKS = chunks_of(DATA, 1500)


class Reader:
    def __init__(self, frame_bytes: int = 700) -> None:
        self.frame_bytes = frame_bytes
        self.asked: list[Sequence[tuple[int, int]]] = []
        self.extra: list[tuple[int, bytes]] = []
        self.drop = 0
        self.fail: Exception | None = None
        self.closed = 0

    async def read_ranges(
        self, sha256: str, spans: Sequence[tuple[int, int]], pace: Pace
    ) -> AsyncIterator[tuple[int, bytes]]:
        self.asked.append(spans)
        frames = [
            (at, DATA[at : min(at + self.frame_bytes, offset + length)])
            for offset, length in spans
            for at in range(offset, offset + length, self.frame_bytes)
        ]
        random.Random(1).shuffle(frames)  # noqa: S311 - a repeatable disorder
        try:
            for frame in self.extra + frames[self.drop :]:
                yield frame
            if self.fail is not None:
                raise self.fail
        finally:
            self.closed += 1


async def take(source: MqttSource, chunks: Sequence[Chunk]) -> list[Chunk]:
    got = []
    async for chunk, data in source.read("a" * 64, chunks):
        assert data == bytes_of(DATA, chunk)
        got.append(chunk)
    return got


async def test_frames_in_disorder_become_chunks() -> None:
    reader = Reader()
    got = await take(MqttSource(reader), CHUNKS)
    assert sorted(got, key=lambda c: c.offset) == list(CHUNKS)
    assert reader.asked == [[(0, 20_000)]]


async def test_what_is_asked_at_once_is_bounded() -> None:
    reader = Reader()
    await take(MqttSource(reader, batch_bytes=4000), [*CHUNKS[:2], *CHUNKS[4:9]])
    assert reader.asked[0] == [(0, 3000)]
    assert all(sum(length for _, length in spans) <= 4000 for spans in reader.asked)


async def test_answers_to_other_questions_end_the_source() -> None:
    reader = Reader()
    reader.extra = [(19_000, b"x" * 500)]
    with pytest.raises(SourceError, match="something else"):
        await take(MqttSource(reader), CHUNKS[:2])
    assert reader.closed == 1


async def test_answers_in_part_end_the_source() -> None:
    reader = Reader()
    reader.drop = 1
    with pytest.raises(SourceError, match="1 chunks were answered in part"):
        await take(MqttSource(reader), CHUNKS)


async def test_a_lost_session_is_passed_on() -> None:
    reader = Reader()
    reader.fail = WorldError("no session")
    with pytest.raises(WorldError, match="no session"):
        await take(MqttSource(reader), CHUNKS)


async def test_leaving_early_ends_the_requests() -> None:
    reader = Reader()
    stream = MqttSource(reader).read("a" * 64, CHUNKS)
    await anext(stream)
    await stream.aclose()
    assert reader.closed == 1

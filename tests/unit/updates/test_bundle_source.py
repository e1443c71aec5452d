"""Chunks out of an attached bundle, and what it says when it cannot bring them."""

import hashlib
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from skerry_agent.updates import SourceError
from skerry_agent.updates.sources import BundleSource
from skerry_agent.updates.sources.bundle import MAX_READ_BYTES
from skerry_protocol.bundle import ChunkIndex, PackedChunk, pack_name
from skerry_protocol.manifest import Chunk

FILE = "f" * 64


class Packs:
    """Packs in memory; remembers what was read."""

    def __init__(self, *packs: bytes) -> None:
        self.packs = {pack_name(number): data for number, data in enumerate(packs, start=1)}
        self.reads: list[tuple[str, int, int]] = []

    async def read(self, name: str, offset: int, length: int) -> bytes | None:
        self.reads.append((name, offset, length))
        data = self.packs.get(name)
        return None if data is None else data[offset : offset + length]


def sha(number: int) -> str:
    return f"{number:064x}"


def attached(reader: Packs, *places: PackedChunk) -> BundleSource:
    source = BundleSource()
    lengths = [max((p.offset + p.length for p in places if p.pack == pack), default=0) for pack in (1, 2)]
    source.attach(ChunkIndex(packs=tuple(lengths), chunks=places), reader)
    return source


async def take(source: BundleSource, chunks: Sequence[Chunk]) -> dict[str, bytes]:
    return {chunk.sha256: data async for chunk, data in source.fetch(FILE, chunks)}


async def test_without_a_bundle_it_has_nothing_and_fails_nobody() -> None:
    assert await take(BundleSource(), [Chunk(0, 4, sha(1))]) == {}


async def test_neighbours_are_read_together_and_each_is_given_by_itself() -> None:
    reader = Packs(b"aaaabbbbcccc")
    places = [PackedChunk(sha(n), 1, 4 * n, 4) for n in range(3)]
    source = attached(reader, *places)
    # In the file they stand in another order than in the pack.
    chunks = [Chunk(100, 4, sha(2)), Chunk(0, 4, sha(0)), Chunk(50, 4, sha(1))]
    assert await take(source, chunks) == {sha(0): b"aaaa", sha(1): b"bbbb", sha(2): b"cccc"}
    assert reader.reads == [(pack_name(1), 0, 12)]
    assert (source.brought_bytes, source.lacking_bytes, source.problem) == (12, 0, None)


async def test_a_read_is_bounded() -> None:
    half = MAX_READ_BYTES // 2 + 1
    reader = Packs(bytes(3 * half))
    source = attached(reader, *(PackedChunk(sha(n), 1, n * half, half) for n in range(3)))
    assert len(await take(source, [Chunk(n * half, half, sha(n)) for n in range(3)])) == 3
    assert [length for _, _, length in reader.reads] == [half] * 3


async def test_what_the_bundle_lacks_is_counted() -> None:
    source = attached(Packs(b"aaaa"), PackedChunk(sha(0), 1, 0, 4))
    chunks = [Chunk(0, 4, sha(0)), Chunk(4, 7, sha(1)), Chunk(11, 3, sha(0))]
    # The last one has the hash of another length: whoever made that index lies.
    assert list(await take(source, chunks)) == [sha(0)]
    assert source.lacking_bytes == 10


@pytest.mark.parametrize("packs", [(), (b"aa",)])
async def test_a_torn_pack_is_a_problem_with_a_name(packs: tuple[bytes, ...]) -> None:
    source = attached(Packs(*packs), PackedChunk(sha(0), 1, 0, 4))
    with pytest.raises(SourceError, match=pack_name(1)):
        await take(source, [Chunk(0, 4, sha(0))])
    assert pack_name(1) in (source.problem or "")


async def test_bytes_that_were_not_taken_are_a_problem() -> None:
    source = attached(Packs(b"aaaabbbb"), *(PackedChunk(sha(n), 1, 4 * n, 4) for n in range(2)))
    async with aclosing(source.fetch(FILE, [Chunk(0, 4, sha(0)), Chunk(4, 4, sha(1))])) as arriving:
        await anext(arriving)
    assert "damaged" in (source.problem or "")
    source.detach()
    assert source.problem is None


async def pieces_of(source: BundleSource, *pieces: Chunk) -> list[bytes]:
    found = source.read(sha(0), pieces, lambda piece, data: data == b"%d" % piece.offset * piece.length)
    return [data async for _, data in found]


async def test_pieces_come_from_within_the_pack_of_a_delta() -> None:
    reader = Packs(b"", b"xx00114455yy")
    source = attached(reader, PackedChunk(sha(0), 2, 2, 8))
    assert await pieces_of(source, Chunk(4, 2, "a"), Chunk(0, 2, "b")) == [b"00", b"44"]
    assert source.brought_bytes == 4
    # What the delta's index says may be anything: nothing is read beyond its pack.
    assert await pieces_of(source, Chunk(7, 2, "a")) == []
    assert await pieces_of(attached(Packs(b"aa"), PackedChunk(sha(1), 1, 0, 2)), Chunk(0, 2, "a")) == []
    source.detach()
    assert await pieces_of(source, Chunk(0, 2, "b")) == []


async def test_a_wrong_piece_is_a_problem_with_a_place() -> None:
    source = attached(Packs(b"0032"), PackedChunk(sha(0), 1, 0, 4))
    with pytest.raises(SourceError, match="at 2 of chunks-0001"):
        await pieces_of(source, Chunk(0, 2, "a"), Chunk(2, 1, "b"))
    assert "damaged" in (source.problem or "")


@pytest.mark.parametrize(
    ("content", "problem"), [(b"good", None), (b"evil", "the bytes at 0 of {} are damaged")]
)
async def test_bytes_are_damaged_when_they_are_not_and_not_when_whoever_takes_them_fails(
    content: bytes, problem: str | None
) -> None:
    digest = hashlib.sha256(b"good").hexdigest()
    source = attached(Packs(content), PackedChunk(digest, 1, 0, 4))
    async with aclosing(source.fetch(FILE, [Chunk(0, 4, digest)])) as chunks:
        await anext(chunks)  # and then the disk does not take them
    assert source.problem == (problem and problem.format(pack_name(1)))

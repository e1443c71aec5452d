import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.updates.sources.spans import Assembler, batches, stretches
from skerry_protocol.manifest import Chunk
from support.registry import bytes_of, chunks_of, random_bytes

DATA = random_bytes(5000, 1)
CHUNKS = chunks_of(DATA, 300)
some_chunks = st.lists(st.sampled_from(CHUNKS), unique=True)


@given(some_chunks, st.integers(1, 2000))
def test_stretches_hold_every_chunk_once_and_only_neighbours(chunks: list[Chunk], most: int) -> None:
    found = list(stretches(chunks, most))
    assert [c for s in found for c in s.pieces] == sorted(chunks, key=lambda c: c.offset)
    for stretch in found:
        assert stretch.length == sum(c.length for c in stretch.pieces)
        assert stretch.length <= most or len(stretch.pieces) == 1


@given(some_chunks, st.integers(1, 2000))
def test_batches_are_bounded(chunks: list[Chunk], most: int) -> None:
    found = list(batches(chunks, most))
    assert [c for batch in found for c in batch] == sorted(chunks, key=lambda c: c.offset)
    assert all(sum(c.length for c in batch) <= most or len(batch) == 1 for batch in found)


def test_neighbours_are_joined_and_gaps_are_not_read() -> None:
    found = list(stretches([CHUNKS[0], CHUNKS[1], CHUNKS[3]], 10_000))
    assert [(s.offset, s.length) for s in found] == [(0, 600), (900, 300)]


@given(some_chunks, st.randoms(use_true_random=False), st.integers(1, 700))
def test_pieces_in_any_order_become_the_chunks(
    chunks: list[Chunk], rng: random.Random, piece_bytes: int
) -> None:
    pieces = []
    for stretch in stretches(chunks, 1 << 30):
        end = stretch.offset + stretch.length
        pieces += [
            (at, DATA[at : min(at + piece_bytes, end)]) for at in range(stretch.offset, end, piece_bytes)
        ]
    pieces += rng.sample(pieces, min(3, len(pieces)))
    rng.shuffle(pieces)
    assembler = Assembler(chunks)
    got = [done for at, piece in pieces for done in assembler.add(at, piece)]
    assert sorted(chunk.offset for chunk, _ in got) == sorted(chunk.offset for chunk in chunks)
    assert all(data == bytes_of(DATA, chunk) for chunk, data in got)


@pytest.mark.parametrize("offset", [0, 899, 1200, 10_000])
def test_bytes_that_nobody_asked_for_are_refused(offset: int) -> None:
    assembler = Assembler([CHUNKS[3]])
    with pytest.raises(ValueError, match="not asked for"):
        list(assembler.add(offset, b"x"))

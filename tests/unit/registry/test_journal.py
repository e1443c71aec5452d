from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.registry import journal
from skerry_protocol.manifest import Chunk

SHA = "ab" * 32
CHUNKS = [Chunk(i * 10, 10, f"{i:064x}") for i in range(20)]
PLAN = journal.plan_digest(SHA, CHUNKS)
HEADER = journal.header_line(SHA, 200, PLAN)


def parse(data: bytes) -> journal.JournalContent:
    return journal.parse(data, SHA, 200, PLAN, len(CHUNKS))


@given(st.lists(st.integers(0, 19)))
def test_what_was_written_is_read(indices: list[int]) -> None:
    data = HEADER + journal.entry_lines(indices, PLAN)
    assert parse(data) == (frozenset(indices), len(data))


@given(st.lists(st.integers(0, 19)), st.data())
def test_a_torn_tail_costs_only_what_was_in_it(indices: list[int], data: st.DataObject) -> None:
    whole = HEADER + journal.entry_lines(indices, PLAN)
    cut = data.draw(st.integers(0, len(whole)))
    content = parse(whole[:cut])
    assert content.indices <= set(indices)
    assert content.sound_bytes <= cut
    assert len(whole) - cut > 0 or content.indices == set(indices)
    # What is sound can be gone on with.
    if content.sound_bytes:
        again = whole[: content.sound_bytes] + journal.entry_lines([7], PLAN)
        assert parse(again).indices == content.indices | {7}


@given(st.lists(st.integers(0, 19), min_size=1, unique=True), st.data())
def test_a_flipped_byte_never_adds_a_chunk(indices: list[int], data: st.DataObject) -> None:
    whole = bytearray(HEADER + journal.entry_lines(indices, PLAN))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    assert parse(bytes(whole)).indices <= set(indices)


def test_zeros_that_a_power_cut_left_end_the_journal() -> None:
    data = HEADER + journal.entry_lines([1, 2], PLAN)
    assert parse(data + bytes(4096)) == (frozenset({1, 2}), len(data))


def test_the_journal_of_another_chunking_counts_for_nothing() -> None:
    other = journal.plan_digest(SHA, CHUNKS[:-1])
    data = journal.header_line(SHA, 200, other) + journal.entry_lines([1, 2], other)
    assert parse(data) == (frozenset(), 0)


def test_an_index_beyond_the_chunks_is_not_believed() -> None:
    assert parse(HEADER + journal.entry_lines([3, 20], PLAN)).indices == {3}

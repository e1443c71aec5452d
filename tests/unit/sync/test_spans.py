from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.sync.spans import Span, SpanCursor


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 200)), max_size=8),
    st.integers(1, 64),
    st.randoms(use_true_random=False),
)
def test_the_pieces_are_exactly_the_spans(spans: list[tuple[int, int]], most: int, random: Random) -> None:
    cursor = SpanCursor(spans)
    got: list[int] = []
    while (piece := cursor.take(most)) is not None:
        assert 0 < piece.length <= most
        came = random.randint(1, piece.length)
        cursor.give_back(Span(piece.offset + came, piece.length - came))
        got.extend(range(piece.offset, piece.offset + came))
    wanted = [number for offset, length in spans for number in range(offset, offset + length)]
    assert sorted(got) == sorted(wanted)


def test_adjacent_spans_are_read_as_one() -> None:
    cursor = SpanCursor([(0, 10), (10, 20), (40, 5)])
    assert [cursor.take(100), cursor.take(100), cursor.take(100)] == [Span(0, 30), Span(40, 5), None]


def test_a_negative_span_is_the_callers_bug() -> None:
    with pytest.raises(ValueError, match="a span of"):
        SpanCursor([(-1, 5)])

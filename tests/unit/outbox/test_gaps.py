from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.outbox.gaps import subtract
from skerry_protocol import ranges

numbers = st.sets(st.integers(0, 60))


@given(numbers, numbers)
def test_what_is_left_is_the_difference_of_the_sets(held: set[int], taken: set[int]) -> None:
    left = subtract(ranges.from_numbers(held), ranges.from_numbers(taken))
    assert left == ranges.from_numbers(held - taken)


def test_a_range_is_split_around_what_is_taken() -> None:
    assert subtract([(0, 10), (20, 30)], [(3, 4), (9, 22)]) == [(0, 2), (5, 8), (23, 30)]

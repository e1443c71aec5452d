from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.backoff import full_jitter


@given(st.integers(0, 10_000))
def test_pauses_are_spread_from_zero_to_a_doubling_end(attempt: int) -> None:
    assert 0 <= full_jitter(attempt, 1.0, 60.0) <= min(60.0, 2.0 ** min(attempt, 30))


def test_the_end_doubles_up_to_the_cap() -> None:
    ends = [full_jitter(attempt, 1.0, 10.0, lambda _low, high: high) for attempt in range(6)]
    assert ends == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]

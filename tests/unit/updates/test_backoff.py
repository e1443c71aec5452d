import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.updates.backoff import full_jitter


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_never_longer_than_the_cap(failures: int, chance: float) -> None:
    assert 0.0 <= full_jitter(failures, 2.0, 300.0, lambda: chance) <= 300.0


def test_the_upper_end_doubles_up_to_the_cap() -> None:
    pauses = [full_jitter(n, 2.0, 60.0, lambda: 1.0) for n in range(1, 8)]
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_a_thousand_devices_that_failed_at_one_moment_spread_over_the_window() -> None:
    rng = random.Random(7)  # noqa: S311 - a repeatable spread
    seconds = Counter(int(full_jitter(9, 2.0, 100.0, rng.random)) for _ in range(1000))
    assert len(seconds) == 100
    assert max(seconds.values()) < 30


def test_there_is_no_pause_before_a_failure() -> None:
    with pytest.raises(ValueError, match="0 failures"):
        full_jitter(0, 2.0, 60.0, random.random)

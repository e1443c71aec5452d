import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.updates.pulse import Pulse
from skerry_agent.updates.token_bucket import TokenBucket
from skerry_agent.updates.traffic import Speed, Traffic


class Ticking:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(
    st.lists(st.integers(1, 300_000), min_size=5, max_size=50), st.sampled_from([1024, 65_536, 10_000_000])
)
def test_whoever_waits_as_told_keeps_the_rate(reads: list[int], rate: int) -> None:
    bucket, now = TokenBucket(), 0.0
    for count in reads:
        now += bucket.take(count, rate, now)
    assert sum(reads) <= rate * (now + 0.25) + 1


def test_pauses_save_up_a_quarter_of_a_second_at_most() -> None:
    bucket = TokenBucket()
    assert bucket.take(1000, 1000, 0.0) == pytest.approx(1.0)
    assert bucket.take(250, 1000, 3600.0) == 0.0
    assert bucket.take(500, 1000, 3600.0) == pytest.approx(0.5)


def test_without_a_limit_nobody_waits_and_no_debt_is_left() -> None:
    bucket = TokenBucket()
    bucket.take(10_000, 1000, 0.0)
    assert bucket.take(1 << 40, 0, 0.0) == 0.0
    assert bucket.take(1000, 1000, 0.0) == pytest.approx(1.0)


def test_a_limit_is_kept_over_all_sources_and_may_change() -> None:
    clock, limit = Ticking(), [1000.0]
    traffic = Traffic(lambda: limit[0], monotonic=clock)
    assert traffic.reserve(1000) == pytest.approx(1.0)
    assert traffic.reserve(1000) == pytest.approx(2.0)
    traffic.give_back(1000)
    clock.now += 1.0
    assert traffic.reserve(1000) == pytest.approx(1.0)
    limit[0] = 0.0
    assert traffic.reserve(1 << 30) == 0.0
    assert traffic.read_bytes(1 << 20) == 1 << 20
    limit[0] = 100_000.0
    assert traffic.read_bytes(1 << 20) == 50_000


def test_what_came_is_counted_by_source_also_from_threads() -> None:
    traffic = Traffic()

    def receive() -> None:
        for _ in range(1000):
            traffic.received("http", 3)

    threads = [threading.Thread(target=receive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    traffic.received("mqtt", 5)
    assert (traffic.bytes_of("http"), traffic.bytes_of("mqtt"), traffic.total_bytes) == (12_000, 5, 12_005)


def test_the_speed_is_that_of_the_last_seconds() -> None:
    clock = Ticking()
    traffic = Traffic(monotonic=clock)
    assert traffic.speed() == Speed(0, None)
    for _ in range(100):
        traffic.received("http", 1000)
        clock.now += 0.1
    assert traffic.speed().source == "http"
    assert traffic.speed().bytes_per_s == pytest.approx(10_000, rel=0.1)
    traffic.received("mqtt", 10)
    assert traffic.speed().source == "mqtt"
    clock.now += 11
    assert traffic.speed() == Speed(0, None)


def test_a_source_that_drips_is_seen_through_only_after_its_time() -> None:
    pulse = Pulse(1000, over_s=10)
    assert all(pulse.beats(1.0, 10) for _ in range(9))
    assert pulse.due_s == pytest.approx(1.0)
    assert not pulse.beats(1.0, 10)


def test_a_slow_source_that_brings_enough_goes_on_for_ever() -> None:
    pulse = Pulse(1000, over_s=10)
    assert all(pulse.beats(0.7, 701) for _ in range(1000))


def test_bytes_that_came_early_do_not_pay_for_the_time_after() -> None:
    pulse = Pulse(1000, over_s=10)
    assert pulse.beats(10.0, 1_000_000)
    assert not pulse.beats(10.0, 0)

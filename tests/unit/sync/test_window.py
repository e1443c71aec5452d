import heapq
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.sync.limits import WindowLimits
from skerry_agent.sync.window import FlowWindow, SentFrame

KIB = 1024
FRAME = 128 * KIB - 512
LIMITS = WindowLimits()


@dataclass
class Outcome:
    """What a simulated download came to."""

    seconds: float
    most_in_flight: int
    late_in_flight: int
    window: FlowWindow


def download(total: int, *, bytes_per_s: float, latency_s: float, frame: int = FRAME) -> Outcome:
    """A link that sends one answer after another at its rate; requests take the latency alone."""
    window = FlowWindow(frame, LIMITS)
    arrivals: list[tuple[float, int, SentFrame]] = []
    now, link_free, asked, got, number, most, late = 0.0, 0.0, 0, 0, 0, 0, 0
    while got < total:
        length = min(window.frame_bytes, total - asked)
        if length and window.may_send(length):
            asked += length
            link_free = max(link_free, now + latency_s / 2) + length / bytes_per_s
            number += 1
            heapq.heappush(arrivals, (link_free + latency_s / 2, number, window.sent(length, now)))
            most = max(most, window.in_flight_bytes)
            if got > total / 2:
                late = max(late, window.in_flight_bytes)
            continue
        now, _, sent = heapq.heappop(arrivals)
        window.received(sent, sent.length, now)
        got += sent.length
    return Outcome(now, most, late, window)


def test_a_slow_link_has_at_most_two_seconds_in_flight_and_is_used_well() -> None:
    outcome = download(2_000_000, bytes_per_s=32 * KIB, latency_s=0.06)
    assert outcome.most_in_flight <= 2.2 * 32 * KIB
    assert outcome.window.frame_bytes <= 18 * KIB
    assert outcome.seconds < 1.05 * 2_000_000 / (32 * KIB)


def test_a_very_slow_link_keeps_to_one_small_frame_or_two_seconds() -> None:
    outcome = download(100_000, bytes_per_s=1 * KIB, latency_s=0.1)
    assert outcome.late_in_flight <= 16 * KIB


def test_a_fast_link_gets_the_whole_window_at_once() -> None:
    outcome = download(100_000_000, bytes_per_s=200e6, latency_s=0.002)
    assert outcome.window.budget_bytes == 8 * FRAME
    assert outcome.window.frame_bytes == FRAME
    assert 100_000_000 / outcome.seconds > 150e6


def test_a_long_way_is_no_reason_to_shrink_for_ever() -> None:
    outcome = download(4_000_000, bytes_per_s=64 * KIB, latency_s=3.0)
    assert 4_000_000 / outcome.seconds > 40 * KIB


@given(
    st.floats(2_000, 50e6),
    st.floats(0.0, 2.5),
    st.sampled_from([1536, 8 * KIB, 32 * KIB, FRAME]),
)
def test_on_any_link_the_download_ends_and_the_bounds_hold(rate: float, latency: float, frame: int) -> None:
    total = int(min(rate * 20, 3_000_000))
    outcome = download(total, bytes_per_s=rate, latency_s=latency, frame=frame)
    assert outcome.most_in_flight <= 8 * frame
    smallest = min(frame, LIMITS.min_frame_bytes)
    path_s = latency + smallest / rate
    allowed = max(2.2 * rate, 1.8 * path_s * rate, smallest)
    assert outcome.late_in_flight <= allowed + smallest


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["send", "receive", "receive", "lose", "withdraw"]),
            st.integers(1, FRAME),
            st.floats(0, 30),
        ),
        max_size=200,
    )
)
def test_what_is_in_flight_is_counted_and_bounded_whatever_happens(
    steps: list[tuple[str, int, float]],
) -> None:
    window, now, under_way = FlowWindow(FRAME, LIMITS), 0.0, list[SentFrame]()
    for action, length, wait in steps:
        now += wait
        if action == "send":
            asked = min(length, window.frame_bytes)
            if window.may_send(asked):
                assert window.in_flight_bytes == 0 or window.in_flight_bytes + asked <= window.budget_bytes
                under_way.append(window.sent(asked, now))
        elif under_way:
            sent = under_way.pop(0)
            if action == "receive":
                window.received(sent, min(length, sent.length), now)
            elif action == "lose":
                window.lost(sent)
            else:
                window.withdrawn(sent)
        assert window.in_flight_bytes == sum(sent.length for sent in under_way)
        assert LIMITS.min_frame_bytes <= window.budget_bytes <= LIMITS.max_frames * FRAME
        assert LIMITS.min_frame_bytes <= window.frame_bytes <= FRAME


def test_idle_time_and_small_answers_do_not_lower_the_estimate() -> None:
    window = FlowWindow(FRAME, LIMITS)
    now = 0.0
    for _ in range(50):
        sent = window.sent(window.frame_bytes, now)
        now += 0.001
        window.received(sent, sent.length, now)
    before = window.bytes_per_s
    now += 3600
    sent = window.sent(512, now)
    window.received(sent, 300, now + 0.05)
    assert window.bytes_per_s == before


def test_a_loss_halves_the_estimate() -> None:
    window = FlowWindow(FRAME, LIMITS)
    window.received(window.sent(8 * KIB, 0.0), 8 * KIB, 0.1)
    before = window.bytes_per_s
    assert before is not None
    window.lost(window.sent(8 * KIB, 0.2))
    assert window.bytes_per_s == pytest.approx(before / 2)


def test_a_small_packet_limit_bounds_every_frame() -> None:
    window = FlowWindow(1500, LIMITS)
    assert window.frame_bytes == 1500
    assert window.budget_bytes <= 8 * 1500

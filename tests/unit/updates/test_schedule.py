from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from skerry_agent.backoff import full_jitter, place_within
from skerry_agent.updates.schedule import Opening, Starts
from skerry_protocol.windows import Window

BERLIN = ZoneInfo("Europe/Berlin")


def at(month: int, day: int, hour: int, minute: int = 0) -> float:
    """A moment of 2026, by the clocks of Berlin."""
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("now", "waits_h"),
    [
        (at(11, 25, 1), 1.0),
        (at(11, 25, 2), 0.0),
        (at(11, 25, 4, 59), 0.0),
        (at(11, 25, 5), 21.0),
        (at(10, 24, 23), 3.0),  # the clocks go back: it begins at the first of two 2 o'clocks
        (at(3, 28, 23), 3.0),  # they go forward: there is no 2 o'clock, and it begins at 3
    ],
)
def test_a_window_is_one_of_the_device_s_time_zone(now: float, waits_h: float) -> None:
    assert Window.parse("0 2 * * * 3h", BERLIN).opens_in_s(now) == pytest.approx(waits_h * 3600)


def test_windows_that_overlap_never_close() -> None:
    window = Window.parse("0 * * * * 90m", UTC)
    assert all(window.opens_in_s(minute * 60.0) == 0.0 for minute in range(0, 3000, 7))


def test_a_window_that_never_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="never begins"):
        Window.parse("0 2 30 2 * 3h")


def test_a_window_is_read_from_the_setting_as_it_is_then() -> None:
    text, now = [""], [at(11, 25, 12)]
    opening = Opening(lambda: text[0], lambda: now[0], lambda: BERLIN)
    assert opening.closed_s() == 0.0
    text[0] = "0 2 * * * 3h"
    assert opening.closed_s() == 14 * 3600
    now[0] = at(11, 26, 3)
    assert opening.closed_s() == 0.0
    text[0] = "30 3 * * * 1h"
    assert opening.closed_s() == 1800


def test_a_window_opens_for_each_device_at_a_moment_of_its_own_in_its_first_half() -> None:
    moments, now = [], at(11, 25, 1)
    for number in range(1000):
        opening = Opening(
            lambda: "0 2 * * * 1h", lambda: now, lambda: BERLIN, spread_s=lambda: 1e6, device=f"d-{number}"
        )
        moments.append(opening.closed_s() - 3600)
    assert most_in_a_tenth(moments, 1800.0) < 140


def test_a_window_that_opens_later_closes_as_before() -> None:
    window = Window.parse("0 2 * * * 1h", BERLIN).later_by(600)
    assert window.opens_in_s(at(11, 25, 2)) == 600
    assert window.opens_in_s(at(11, 25, 2, 9)) == 60
    assert window.opens_in_s(at(11, 25, 2, 10)) == 0
    assert window.opens_in_s(at(11, 25, 2, 59)) == 0
    assert window.opens_in_s(at(11, 25, 3)) == 23 * 3600 + 600


def most_in_a_tenth(moments: list[float], window_s: float) -> int:
    """How many of the moments fall into the fullest tenth of the window."""
    assert all(0 <= moment < window_s for moment in moments)
    return max(Counter(int(moment / window_s * 10) for moment in moments).values())


@pytest.mark.parametrize("window_s", [1.0, 60.0, 3600.0])
def test_a_thousand_devices_that_begin_together_are_spread_over_the_window(window_s: float) -> None:
    starts = [Starts(lambda: window_s, f"d-{number:016x}", lambda: 0.0) for number in range(1000)]
    moments = [one.delay_s("target") for one in starts]
    assert most_in_a_tenth(moments, window_s) < 140
    # Not the same ones first each time.
    assert [one.delay_s("another") for one in starts] != moments


@pytest.mark.parametrize("attempt", range(8))
def test_a_thousand_devices_that_lost_their_broker_come_back_over_the_whole_pause(attempt: int) -> None:
    window_s = min(60.0, 1.0 * 2**attempt)
    moments = [
        full_jitter(attempt, 1.0, 60.0, lambda low, high, n=number: low + place_within(high - low, f"{n}"))  # type: ignore[misc]  # mypy knows no defaults of lambdas
        for number in range(1000)
    ]
    assert most_in_a_tenth(moments, window_s) < 140


def test_a_start_is_drawn_once_and_its_time_runs_on() -> None:
    now = [10.0]
    starts = Starts(lambda: 100.0, "d-1", lambda: now[0])
    delay_s = starts.delay_s("target")
    assert delay_s == place_within(100.0, "d-1 target")
    now[0] += delay_s / 2
    assert starts.delay_s("target") == pytest.approx(delay_s / 2)
    now[0] += delay_s
    assert starts.delay_s("target") == 0.0


def test_somebody_at_the_device_need_not_wait() -> None:
    starts = Starts(lambda: 100.0, "d-1", lambda: 10.0)
    assert starts.delay_s("target") > 0
    starts.hurry()
    assert starts.delay_s("target") == 0.0


def test_without_a_spread_a_download_begins_at_once() -> None:
    assert Starts(lambda: 0.0, "d-1", lambda: 10.0).delay_s("target") == 0.0

import pytest

from skerry_agent.runtime.crash_policy import CrashHistory
from skerry_agent.runtime.model import RuntimeLimits

LIMITS = RuntimeLimits(crash_window_s=100, max_crashes=5, backoff_initial_s=1, backoff_max_s=3)


def _crashed_at(*times: float) -> CrashHistory:
    history = CrashHistory(LIMITS)
    for time in times:
        history.record(time, f"crash at {time}")
    return history


@pytest.mark.parametrize(
    ("times", "pause"),
    [((), 0), ((0,), 0), ((0, 0), 1), ((0, 0, 0), 2), ((0, 0, 0, 0), 3), ((0, 0, 0, 0, 0), 3)],
)
def test_the_pause_doubles_up_to_its_limit(times: tuple[float, ...], pause: float) -> None:
    assert _crashed_at(*times).pause_s(0) == pause


def test_time_that_passed_since_the_crash_counts() -> None:
    assert _crashed_at(0, 0, 0).pause_s(0.5) == 1.5
    assert _crashed_at(0, 0, 0).pause_s(5) == 0


def test_it_goes_out_of_service_at_the_limit_until_the_oldest_crash_leaves_the_window() -> None:
    assert _crashed_at(0, 1, 2, 3).out_of_service_s(3) == 0
    history = _crashed_at(0, 1, 2, 3, 4)
    assert history.out_of_service_s(4) == 96
    assert history.out_of_service_s(100) == 0
    history.record(100, "again")
    assert history.out_of_service_s(100) == 1


def test_old_crashes_are_forgotten_but_counted() -> None:
    history = _crashed_at(0, 1, 2)
    assert history.pause_s(200) == 0
    assert history.total == 3
    assert history.last_error == "crash at 2"


def test_a_runner_that_proved_itself_clears_the_record() -> None:
    history = _crashed_at(0, 1, 2, 3, 4)
    history.clear()
    assert history.out_of_service_s(4) == 0
    assert history.pause_s(4) == 0
    assert history.last_error is None

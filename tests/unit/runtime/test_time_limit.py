import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from skerry_agent.runtime.time_limit import TimeLimitError, run_limited


def _busy(seconds: float) -> str:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return "done"


def test_work_that_ends_is_left_alone() -> None:
    assert run_limited(lambda: _busy(0.01), 10) == "done"
    with pytest.raises(ZeroDivisionError):
        run_limited(lambda: 1 // 0, 10)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_work_that_computes_for_too_long_is_ended() -> None:
    began = time.thread_time()
    with pytest.raises(TimeLimitError, match=r"within 0\.1 s"):
        run_limited(lambda: _busy(60), 0.1)
    assert time.thread_time() - began < 5
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_waiting_is_not_computing() -> None:
    assert run_limited(lambda: time.sleep(0.4), 0.05) is None


def test_an_end_that_comes_too_late_is_felt_nowhere() -> None:
    outcomes = set()
    for i in range(40):
        try:
            outcomes.add(run_limited(partial(_busy, 0.098 + i % 8 / 2000), 0.1))
        except TimeLimitError:
            outcomes.add("ended")
        _busy(0.001)  # would be hit by an exception that is still on its way
    assert outcomes


def test_one_endless_operation_ends_the_process_by_an_alarm() -> None:
    code = (
        "from skerry_agent.runtime.time_limit import run_limited\n"
        "run_limited(lambda: 3 ** 10 ** 8 // 7, 0.1, alarm_s=0.5)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGALRM

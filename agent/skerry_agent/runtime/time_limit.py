"""Ends work that computes for too long, whatever it is at; for the runner process only.

A program that came with a model (its chat template) may loop for ever. Python ends such a loop from outside
with an exception that is raised in its thread. That does not reach a single long operation of the
interpreter, so behind it stands an alarm of the kernel, which ends the process.
"""

import ctypes
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

ALARM_S = 12.0
"""Less than the daemon waits for a pong, so that the way in which the process ends tells why."""
LOOK_INTERVAL_S = 0.1


class TimeLimitError(Exception):
    """The work computed for too long."""


class _OutOfTime(BaseException):
    """Raised inside the work; no error of its own, so that nothing there takes it for one."""


def run_limited(work: Callable[[], T], cpu_s: float, *, alarm_s: float = ALARM_S) -> T:
    """Do something in this thread, for so much time of its processor and no longer.

    Args:
        work: What to do.
        cpu_s: What it may compute, in seconds; the wait for a core does not count.
        alarm_s: The process ends by SIGALRM after this time, in seconds by the clock. One piece of work at a
            time has an alarm.

    Raises:
        TimeLimitError: It was ended.
    """
    thread = threading.get_ident()
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(thread, cpu_s, over), name="time-limit", daemon=True)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, alarm_s)
            watch.start()
            return work()
        finally:
            over.set()
            signal.setitimer(signal.ITIMER_REAL, 0)
            watch.join()
            _raise_in(thread, None)  # if it came too late to be felt
    except _OutOfTime:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise TimeLimitError(f"it did not end within {cpu_s:g} s of computing") from None


def _watch(thread: int, cpu_s: float, over: threading.Event) -> None:
    clock = time.pthread_getcpuclockid(thread)
    end = time.clock_gettime(clock) + cpu_s
    while not over.wait(LOOK_INTERVAL_S):
        if time.clock_gettime(clock) >= end:
            _raise_in(thread, _OutOfTime)
            return


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    kind = ctypes.py_object() if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), kind)

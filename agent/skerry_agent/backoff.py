"""Pauses between attempts.

Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter spreads a fleet that lost
its broker at one moment.
"""

import random
from collections.abc import Callable

_MAX_DOUBLINGS = 30


def full_jitter(
    attempt: int, initial_s: float, max_s: float, uniform: Callable[[float, float], float] = random.uniform
) -> float:
    """A random pause in seconds between 0 and ``initial_s`` doubled ``attempt`` times, ``max_s`` at most."""
    return uniform(0.0, min(max_s, initial_s * 2.0 ** min(attempt, _MAX_DOUBLINGS)))

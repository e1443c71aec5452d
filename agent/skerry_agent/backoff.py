"""Pauses between attempts, and places in a window: so that a fleet does not do all at one moment. Pure.

Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter spreads a fleet that lost
its broker at one moment.
"""

import hashlib
import random
from collections.abc import Callable

_MAX_DOUBLINGS = 30


def full_jitter(
    attempt: int, initial_s: float, max_s: float, uniform: Callable[[float, float], float] = random.uniform
) -> float:
    """A random pause in seconds between 0 and ``initial_s`` doubled ``attempt`` times, ``max_s`` at most."""
    return uniform(0.0, min(max_s, initial_s * 2.0 ** min(attempt, _MAX_DOUBLINGS)))


def place_within(window_s: float, key: str) -> float:
    """A moment between 0 and ``window_s`` seconds that belongs to a key.

    The same for the same key, so that a restart draws no other; even over many keys.
    """
    drawn = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return window_s * drawn / 2.0**64

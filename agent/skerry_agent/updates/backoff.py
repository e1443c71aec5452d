"""Pauses between attempts. Pure.

Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter spreads many devices that
failed at one moment evenly over the pause.
"""

from collections.abc import Callable

_MAX_DOUBLINGS = 32


def full_jitter(failures: int, initial_s: float, max_s: float, random: Callable[[], float]) -> float:
    """The pause after so many failures in a row, in seconds.

    Args:
        failures: 1 after the first.
        initial_s: Upper end of the first pause; it doubles with each further failure.
        max_s: Upper end of any pause.
        random: Uniform in [0, 1).
    """
    if failures < 1:
        raise ValueError(f"a pause after {failures} failures")
    return random() * min(max_s, initial_s * 2.0 ** min(failures - 1, _MAX_DOUBLINGS))

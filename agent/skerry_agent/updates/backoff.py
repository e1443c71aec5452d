"""Pauses between attempts of updates and settings, counted in failures. Pure."""

from collections.abc import Callable

from skerry_agent import backoff


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
    return backoff.full_jitter(
        failures - 1, initial_s, max_s, lambda low, high: low + random() * (high - low)
    )

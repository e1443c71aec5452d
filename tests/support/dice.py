"""Random numbers that are the same in every run."""

import random


def dice(seed: int) -> random.Random:
    """A source of numbers that a seed decides."""
    return random.Random(seed)  # noqa: S311 - a test has to be repeatable

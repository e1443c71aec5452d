"""Time comes in from outside, so that tests can set it."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the current time, with a time zone."""


def utc_now() -> datetime:
    """The system's idea of now."""
    return datetime.now(UTC)

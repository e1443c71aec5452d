"""Maintenance windows of rollouts, in UTC, as operators write them."""

from skerry_controller.errors import UsageError
from skerry_protocol import windows


def parse_duration(text: str) -> float:
    """Seconds of ``90s``, ``10m``, ``3h`` or ``2d``; a bare ``0`` is allowed.

    Raises:
        UsageError: The text has another form.
    """
    try:
        return windows.parse_duration(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def parse_window(text: str) -> windows.Window:
    """When devices may be assigned: ``MINUTE HOUR DAY MONTH WEEKDAY DURATION``, times are UTC.

    Raises:
        UsageError: The text has another form.
    """
    try:
        return windows.Window.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from error

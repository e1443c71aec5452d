"""Maintenance windows: a cron expression (UTC) for the start, and a duration: ``0 2 * * * 3h``."""

import re
from datetime import UTC, datetime, timedelta
from typing import Self

from apscheduler.triggers.cron import CronTrigger

from skerry_controller.errors import UsageError

_DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CRON_FIELDS = 5
_LONGEST = timedelta(days=7)


def parse_duration(text: str) -> float:
    """Seconds of ``90s``, ``10m``, ``3h`` or ``2d``; a bare ``0`` is allowed.

    Raises:
        UsageError: The text has another form.
    """
    text = text.strip()
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a duration: write 90s, 10m, 3h or 2d")
    return float(int(match[1]) * _SECONDS[match[2]])


class Window:
    """When devices may be assigned."""

    def __init__(self, text: str, trigger: CronTrigger, duration: timedelta) -> None:
        self.text = text
        self._trigger = trigger
        self._duration = duration

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``MINUTE HOUR DAY MONTH WEEKDAY DURATION``; times are UTC, Sunday is 0 or 7.

        Raises:
            UsageError: The text has another form.
        """
        fields = text.split()
        if len(fields) != _CRON_FIELDS + 1:
            raise UsageError(
                f"window {text!r}: write five cron fields and a duration, such as '0 2 * * * 3h' (UTC)"
            )
        duration = timedelta(seconds=parse_duration(fields[-1]))
        if not timedelta(0) < duration <= _LONGEST:
            raise UsageError(f"window {text!r}: it may last at most {_LONGEST.days} days, and not 0")
        minute, hour, day, month, weekday = fields[:-1]
        try:
            trigger = CronTrigger(
                minute=minute,
                hour=hour,
                day=day,
                month=month,
                day_of_week=_weekday(weekday),
                timezone=UTC,
            )
        except ValueError as error:
            raise UsageError(f"window {text!r}: {error}") from error
        return cls(text, trigger, duration)

    def is_open(self, now: float) -> bool:
        """Whether a start lies at most the duration before ``now`` (Unix seconds)."""
        moment = datetime.fromtimestamp(now, UTC)
        start = self._trigger.get_next_fire_time(None, moment - self._duration + timedelta(microseconds=1))
        return start is not None and start <= moment

    def __str__(self) -> str:
        return self.text


def _weekday(field: str) -> str:
    # cron counts from Sunday, apscheduler from Monday: names mean the same to both.
    if "/" in field:
        raise ValueError("steps in the weekday field are not supported; name the days, such as mon,wed,fri")
    return re.sub(r"\b[0-7]\b", lambda match: _WEEKDAYS[int(match[0])], field)

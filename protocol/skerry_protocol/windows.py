"""Windows of time that come back: five cron fields for the start, and a duration: ``0 2 * * * 3h``. Pure."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

_DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CRON_FIELDS = 5
_LONGEST = timedelta(days=7)
_SMALLEST = timedelta(microseconds=1)


def parse_duration(text: str) -> float:
    """Seconds of ``90s``, ``10m``, ``3h`` or ``2d``; a bare ``0`` is allowed.

    Raises:
        ValueError: The text has another form.
    """
    text = text.strip()
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write 90s, 10m, 3h or 2d")
    return float(int(match[1]) * _SECONDS[match[2]])


class Window:
    """When something may be done."""

    def __init__(
        self, text: str, trigger: "CronTrigger", duration: timedelta, late: timedelta = timedelta(0)
    ) -> None:
        self.text = text
        self._trigger = trigger
        self._duration = duration
        self._late = late

    @classmethod
    def parse(cls, text: str, timezone: tzinfo = UTC) -> Self:
        """Parse ``MINUTE HOUR DAY MONTH WEEKDAY DURATION``; Sunday is 0 or 7.

        Args:
            text: Such as ``0 2 * * * 3h``.
            timezone: Of the fields.

        Raises:
            ValueError: The text has another form, or the window never begins.
        """
        # Most devices have no window, and none of this in memory.
        from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415

        fields = text.split()
        if len(fields) != _CRON_FIELDS + 1:
            raise ValueError(
                f"window {text!r}: write five cron fields and a duration, such as '0 2 * * * 3h'"
            )
        duration = timedelta(seconds=parse_duration(fields[-1]))
        if not timedelta(0) < duration <= _LONGEST:
            raise ValueError(f"window {text!r}: it may last at most {_LONGEST.days} days, and not 0")
        minute, hour, day, month, weekday = fields[:-1]
        try:
            trigger = CronTrigger(
                minute=minute,
                hour=hour,
                day=day,
                month=month,
                day_of_week=_weekday(weekday),
                timezone=timezone,
            )
        except ValueError as error:
            raise ValueError(f"window {text!r}: {error}") from error
        if trigger.get_next_fire_time(None, datetime(2024, 1, 1, tzinfo=UTC)) is None:
            raise ValueError(f"window {text!r}: it never begins")
        return cls(text, trigger, duration)

    @property
    def duration_s(self) -> float:
        """How long it is open, in seconds."""
        return self._duration.total_seconds()

    def later_by(self, seconds: float) -> "Window":
        """The same window, which opens so much later and closes as before."""
        return Window(self.text, self._trigger, self._duration, timedelta(seconds=seconds))

    def is_open(self, now: float) -> bool:
        """Whether a start lies at most the duration before ``now`` (Unix seconds)."""
        moment = datetime.fromtimestamp(now, UTC)
        start = self._next(moment - self._duration + _SMALLEST)
        return start is not None and start + self._late <= moment

    def opens_in_s(self, now: float) -> float:
        """Seconds from ``now`` (Unix seconds) until it is open; 0 while it is."""
        if self.is_open(now):
            return 0.0
        moment = datetime.fromtimestamp(now, UTC)
        start = self._next(moment - self._late)
        return _LONGEST.total_seconds() if start is None else (start + self._late - moment).total_seconds()

    def _next(self, after: datetime) -> datetime | None:
        found = self._trigger.get_next_fire_time(None, after)
        return found if found is None else found.astimezone(UTC)

    def __str__(self) -> str:
        return self.text


def _weekday(field: str) -> str:
    # cron counts from Sunday, apscheduler from Monday: names mean the same to both.
    if "/" in field:
        raise ValueError("steps in the weekday field are not supported; name the days, such as mon,wed,fri")
    return re.sub(r"\b[0-7]\b", lambda match: _WEEKDAYS[int(match[0])], field)

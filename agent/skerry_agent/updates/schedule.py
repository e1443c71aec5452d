"""When downloads may go on: the window of a setting, and each device's own moment within a fleet."""

from collections.abc import Callable
from datetime import UTC, tzinfo

import structlog

from skerry_agent.backoff import place_within
from skerry_protocol.windows import Window

log = structlog.get_logger(__name__)

_REMEMBERED = 32


def device_timezone() -> tzinfo:
    """The device's time zone; UTC where it has none."""
    from tzlocal import get_localzone  # noqa: PLC0415 - only devices with a window need it

    try:
        return get_localzone()
    except (LookupError, OSError, ValueError) as error:
        log.warning("timezone_unknown", error=str(error))
        return UTC


class Opening:
    """A window that a setting gives, and that may change while the agent runs.

    Args:
        text: The setting now: ``0 2 * * * 3h``, or empty for always.
        now: The time of day, Unix seconds.
        timezone: Of the window's fields.
        spread_s: The window opens within so many seconds, each device at a moment of its own, but within its
            first half; 0 is at once.
        device: The device's id.
    """

    def __init__(
        self,
        text: Callable[[], str],
        now: Callable[[], float],
        timezone: Callable[[], tzinfo] = device_timezone,
        *,
        spread_s: Callable[[], float] = lambda: 0.0,
        device: str = "",
    ) -> None:
        self._text = text
        self._now = now
        self._timezone = timezone
        self._spread_s = spread_s
        self._device = device
        self._window: Window | None = None

    def closed_s(self) -> float:
        """Seconds until it is open; 0 while it is."""
        text = self._text()
        if not text:
            return 0.0
        if self._window is None or self._window.text != text:
            self._window = Window.parse(text, self._timezone())
        spread_s = min(self._spread_s(), self._window.duration_s / 2)
        return self._window.later_by(place_within(spread_s, self._device)).opens_in_s(self._now())


class Starts:
    """When a download begins: within a window after it was wanted, each device at a moment of its own.

    Args:
        spread_s: Length of that window in seconds, as it is set now; 0 is at once.
        device: The device's id.
        monotonic: Seconds.
    """

    def __init__(self, spread_s: Callable[[], float], device: str, monotonic: Callable[[], float]) -> None:
        self._spread_s = spread_s
        self._device = device
        self._monotonic = monotonic
        self._wanted_at: dict[str, float] = {}

    def delay_s(self, what: str) -> float:
        """Seconds until the download of ``what`` (a digest) may begin; the first question starts its time."""
        spread_s = self._spread_s()
        if not spread_s:
            return 0.0
        now = self._monotonic()
        wanted_at = self._wanted_at.setdefault(what, now)
        while len(self._wanted_at) > _REMEMBERED:
            del self._wanted_at[next(iter(self._wanted_at))]
        return max(0.0, wanted_at + place_within(spread_s, f"{self._device} {what}") - now)

    def hurry(self) -> None:
        """Somebody at the device asks for it now."""
        self._wanted_at = dict.fromkeys(self._wanted_at, float("-inf"))

"""Slows the engine down before the processor does it by itself, which would hit all of the device."""

import time
from collections.abc import Callable
from pathlib import Path

ZONES = Path("/sys/class/thermal")
CELSIUS = 1000.0  # the kernel gives thousandths
INTERVAL_S = 5.0
COOLER_C = 5.0
"""So far below the limit it has to be before the engine gets faster again."""
PAUSE_STEP = 0.2
MAX_PAUSE = 0.8


def hottest_zone(zones: Path = ZONES) -> float | None:
    """The highest temperature that the kernel tells, in degrees Celsius; None when it tells none."""
    found: list[float] = []
    for path in zones.glob("thermal_zone*/temp"):
        try:
            found.append(int(path.read_text()) / CELSIUS)
        except (OSError, ValueError):
            continue  # a sensor that is switched off
    return max(found, default=None)


class HeatGuard:
    """First takes threads away, one every few seconds, then makes pauses between steps; gives back likewise.

    Args:
        limit_c: Temperature from which on it is too hot, in degrees Celsius.
        max_threads: Threads when it is cool.
        read: The temperature now.
        clock: Monotonic time in seconds.

    Attributes:
        threads: The most threads for now.
        pause: Share of the time in which nothing is computed, from 0 to ``MAX_PAUSE``.
        celsius: The last reading; 0 before the first, or without a sensor.
    """

    def __init__(
        self,
        limit_c: float,
        max_threads: int,
        *,
        read: Callable[[], float | None] = hottest_zone,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_c = limit_c
        self._max = max_threads
        self._read = read
        self._clock = clock
        self._due = clock()
        self.threads = max_threads
        self.pause = 0.0
        self.celsius = 0.0

    def look(self) -> None:
        """Read the sensor, when it is time, and act."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + INTERVAL_S
        celsius = self._read()
        if celsius is None:
            return
        self.celsius = celsius
        if celsius >= self._limit_c:
            self._slower()
        elif celsius <= self._limit_c - COOLER_C:
            self._faster()

    def _slower(self) -> None:
        if self.threads > 1:
            self.threads -= 1
        else:
            self.pause = min(MAX_PAUSE, self.pause + PAUSE_STEP)

    def _faster(self) -> None:
        if self.pause > 0:
            self.pause = max(0.0, self.pause - PAUSE_STEP)
        else:
            self.threads = min(self._max, self.threads + 1)

    def pause_s(self, step_s: float) -> float:
        """How long to wait after a step that took so long, in seconds."""
        return step_s * self.pause / (1.0 - self.pause)

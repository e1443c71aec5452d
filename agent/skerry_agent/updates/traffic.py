"""What comes over networks for updates: counted, measured, and held back where a limit is set."""

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from skerry_agent.updates.token_bucket import TokenBucket

_SMALLEST_READ_BYTES = 4096
_READ_S = 0.5
"""With a limit, at most what may come in this time is read at once: a link is shared by short turns."""
_MEASURED_S = 10.0


class Speed(NamedTuple):
    """How fast bytes come now, and from which source."""

    bytes_per_s: int
    source: str | None


class Traffic:
    """One for all network sources of a device, whose limit it keeps together. Safe to use from threads.

    Args:
        limit_bytes_per_s: The limit as it is set now; 0 is none.
        monotonic: Seconds.
    """

    def __init__(
        self,
        limit_bytes_per_s: Callable[[], float] = lambda: 0.0,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit_bytes_per_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._bucket = TokenBucket()
        self._by_source: Counter[str] = Counter()
        self._recent: deque[tuple[float, int, str]] = deque()

    @property
    def limit_bytes_per_s(self) -> float:
        """The limit as it is set now; 0 is none."""
        return self._limit()

    @property
    def total_bytes(self) -> int:
        """Bytes that ever came, wrong and superfluous ones included."""
        return self._by_source.total()

    def bytes_of(self, source: str) -> int:
        """Bytes that ever came from one source."""
        return self._by_source[source]

    def read_bytes(self, most: int) -> int:
        """How many bytes to read at once, at most ``most``."""
        limit = self._limit()
        return min(most, max(_SMALLEST_READ_BYTES, int(limit * _READ_S))) if limit else most

    def reserve(self, count: int) -> float:
        """Ask to read ``count`` bytes; returns how many seconds to wait before."""
        with self._lock:
            return self._bucket.take(count, self._limit(), self._monotonic())

    def give_back(self, count: int) -> None:
        """Return what was reserved and not read."""
        with self._lock:
            self._bucket.give_back(count)

    async def turn(self, count: int) -> None:
        """Wait until ``count`` bytes may be read."""
        wait_s = self.reserve(count)
        if wait_s:
            await asyncio.sleep(wait_s)

    def received(self, source: str, count: int) -> None:
        """Note that ``count`` bytes came from a source."""
        now = self._monotonic()
        with self._lock:
            self._by_source[source] += count
            if self._recent and self._recent[-1][2] == source and now - self._recent[-1][0] < _READ_S:
                at, before, _ = self._recent.pop()
                self._recent.append((at, before + count, source))
            else:
                self._recent.append((now, count, source))
            self._forget(now)

    def speed(self) -> Speed:
        """The mean of the last seconds; no source when nothing came in them."""
        now = self._monotonic()
        with self._lock:
            self._forget(now)
            if not self._recent:
                return Speed(0, None)
            over_s = max(now - self._recent[0][0], _READ_S)
            return Speed(int(sum(count for _, count, _ in self._recent) / over_s), self._recent[-1][2])

    def _forget(self, now: float) -> None:
        while self._recent and now - self._recent[0][0] > _MEASURED_S:
            self._recent.popleft()

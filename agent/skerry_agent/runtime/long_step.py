"""Steps that may take long, since nobody waits for one to end: they are broken off when somebody comes.

Larger pieces of a prompt are read faster: SmolLM2 on two cores reads 267 tokens a second in pieces of 24, and
315 in pieces of 128. While answers are under way, or requests come and go, the pieces are small.
"""

import threading
import time
from collections.abc import Callable

LONG_STEP_S = 0.4
WORTH_BREAKING_S = 0.1
"""What is left of a step after it has run for so long less than its target is waited for."""
LOSS_SHARE = 0.1
"""So much of the time may be lost to steps that were broken off for others to begin."""
MAX_LOSS_S = 0.3


class LongStep:
    """Whether a long step is under way, and whether it may be broken off. Any thread may ask.

    Args:
        break_off: Ends the model's step; what it computed is lost.
        clock: Time in seconds.
    """

    def __init__(self, break_off: Callable[[], None], clock: Callable[[], float] = time.perf_counter) -> None:
        self._break_off = break_off
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._credit_s = MAX_LOSS_S
        self._credited = clock()

    def begin(self) -> None:
        """The engine's thread begins a long step."""
        with self._lock:
            self._since = self._clock()

    def end(self) -> None:
        """The engine's thread has ended a step of any kind."""
        with self._lock:
            self._since = None

    def somebody_left(self) -> None:
        """A request that may be in the step was cancelled: its place must be free at once."""
        with self._lock:
            if self._since is not None:
                self._break_off()

    def somebody_came(self) -> None:
        """A request could begin, unless the step is nearly over or too much was lost in this way lately."""
        with self._lock:
            if self._since is None:
                return
            now = self._clock()
            earned = (now - self._credited) * LOSS_SHARE
            self._credit_s, self._credited = min(MAX_LOSS_S, self._credit_s + earned), now
            spent = now - self._since
            if spent <= self._credit_s and spent < LONG_STEP_S - WORTH_BREAKING_S:
                self._credit_s -= spent
                self._break_off()

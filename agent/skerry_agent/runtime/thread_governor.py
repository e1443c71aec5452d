"""How many threads the engine should use beside what else runs on the device.

llama.cpp's threads meet at a barrier after each of some hundred operations of a token, and spin while they
wait. When one of them has no core, all the others burn theirs until it gets one again: with a second busy
process on two cores, two threads make a tenth of the tokens that one thread makes. So there should never be
more threads than cores that the others leave free.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from skerry_agent.runtime.cpu_times import CpuClock, CpuTimes
from skerry_agent.runtime.heat_guard import HeatGuard


@dataclass(frozen=True, slots=True)
class GovernorLimits:
    """When the number of threads changes.

    Attributes:
        window_s: The others' load is measured over at least this time.
        probe_s: So long it looks before it begins with fewer threads than it ended with.
        lower_cores: Load of the others, in cores, that may share a core with one of our threads.
        raise_cores: Under this load one more thread may come back. The space between keeps it steady.
        raise_after_s: So long that has to hold; it doubles each time that a raise turns out wrong.
        raise_after_max_s: The longest such time.
    """

    window_s: float = 0.2
    probe_s: float = 0.03
    lower_cores: float = 0.5
    raise_cores: float = 0.3
    raise_after_s: float = 1.0
    raise_after_max_s: float = 30.0


class ThreadGovernor:
    """Says how many threads to use.

    Args:
        max_threads: The most.
        cores: How many cores the readings are of.
        limits: When to change.

    Attributes:
        threads: What it says now.
        others_cores: Load of the others when last measured, in cores.
        changes: How often ``threads`` has changed.
    """

    def __init__(self, max_threads: int, cores: int, limits: GovernorLimits | None = None) -> None:
        self._max = max_threads
        self._cores = cores
        self._limits = limits or GovernorLimits()
        self.threads = max_threads
        self.others_cores = 0.0
        self.changes = 0
        self._last: CpuTimes | None = None
        self._raise_after_s = self._limits.raise_after_s
        self._room_since: float | None = None
        self._raised_at = float("-inf")

    @property
    def probe_s(self) -> float:
        """How long to look when ``resume`` is in doubt, in seconds."""
        return self._limits.probe_s

    def due(self, wall: float) -> bool:
        """Whether a reading is wanted at this monotonic time, in seconds."""
        return self._last is None or wall - self._last.wall >= self._limits.window_s

    def observe(self, now: CpuTimes) -> int:
        """Take a reading; return how many threads to use from now on."""
        before, self._last = self._last, now
        if before is None or now.wall <= before.wall:
            return self.threads
        free = self._free(before, now)
        if self.threads > 1 and free < self.threads - self._limits.lower_cores:
            self._lower(now.wall, self._fitting(free))
        elif self.threads < self._max and free >= self.threads + 1 - self._limits.raise_cores:
            self._consider_raise(now.wall)
        else:
            self._room_since = None
        return self.threads

    def resume(self, now: CpuTimes) -> bool:
        """Take a reading after a pause of the engine: room that the others left meanwhile is taken at once.

        Returns:
            Whether they left less than is in use. That may be over, so it is for ``probed`` to say.
        """
        before = self._last
        if before is None or now.wall - before.wall < self._limits.window_s:
            return False
        self._last = now
        self._room_since = None
        fitting = self._fitting(self._free(before, now))
        if fitting > self.threads and now.wall - before.wall >= self._raise_after_s:
            self._raised_at = now.wall
            self._set(fitting)
        return fitting < self.threads

    def probed(self, now: CpuTimes) -> None:
        """Take a reading shortly after ``resume`` had a doubt, with nothing of our own in between."""
        before, self._last = self._last, now
        if before is not None and now.wall > before.wall:
            self._set(self._fitting(self._free(before, now)))

    def _free(self, before: CpuTimes, now: CpuTimes) -> float:
        """Cores that the others left between two readings."""
        others = (now.busy - before.busy) - (now.own - before.own)
        self.others_cores = max(0.0, others / (now.wall - before.wall))
        return self._cores - self.others_cores

    def _fitting(self, free: float) -> int:
        return max(1, min(self._max, int(free + self._limits.lower_cores)))

    def _lower(self, now: float, threads: int) -> None:
        limits = self._limits
        hasty = now - self._raised_at < self._raise_after_s
        longer = min(self._raise_after_s * 2, limits.raise_after_max_s)
        self._raise_after_s = longer if hasty else limits.raise_after_s
        self._room_since = None
        self._set(threads)

    def _consider_raise(self, now: float) -> None:
        if self._room_since is None:
            self._room_since = now
        if now - self._room_since >= self._raise_after_s:
            self._room_since = None
            self._raised_at = now
            self._set(self.threads + 1)

    def _set(self, threads: int) -> None:
        if threads != self.threads:
            self.threads = threads
            self.changes += 1


class ThreadControl:
    """Looks at the device after the engine's steps, and sets the engine's threads.

    Args:
        governor: Says how many the neighbours leave.
        clock: Where to read; None leaves the neighbours alone.
        set_threads: Takes another number of threads.
        heat: Says how many the heat leaves; None for any.
    """

    def __init__(
        self,
        governor: ThreadGovernor,
        clock: CpuClock | None,
        set_threads: Callable[[int], None],
        *,
        heat: HeatGuard | None = None,
    ) -> None:
        self._governor = governor
        self._clock = clock
        self._set_threads = set_threads
        self._heat = heat
        self.threads = governor.threads
        self.changes = 0

    @property
    def others_cores(self) -> float:
        """Load of the device's other processes when last measured, in cores."""
        return self._governor.others_cores

    @property
    def celsius(self) -> float:
        """The temperature when last read; 0 when nobody looks."""
        return self._heat.celsius if self._heat is not None else 0.0

    def before_burst(self) -> None:
        """Look, when the engine begins to work after a pause, and act."""
        if self._clock is None or (now := self._clock.read()) is None:
            return
        if self._governor.resume(now):
            time.sleep(self._governor.probe_s)
            if (now := self._clock.read()) is not None:
                self._governor.probed(now)
        self._apply()

    def after_step(self, step_s: float) -> None:
        """Look, when it is time, and act; costs next to nothing otherwise.

        Args:
            step_s: How long the step took; in great heat a pause in proportion to it follows.
        """
        if self._clock is not None and self._governor.due(time.monotonic()):
            times = self._clock.read()
            if times is not None:
                self._governor.observe(times)
        if self._heat is not None:
            self._heat.look()
        self._apply()
        if self._heat is not None and self._heat.pause:
            time.sleep(self._heat.pause_s(step_s))

    def _apply(self) -> None:
        threads = self._governor.threads
        if self._heat is not None:
            threads = min(threads, self._heat.threads)
        if threads != self.threads:
            self.threads = threads
            self.changes += 1
            self._set_threads(threads)

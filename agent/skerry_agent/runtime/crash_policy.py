"""When a runner that crashed may be started again: a pure function of the crashes so far and the clock."""

from dataclasses import dataclass, field

from skerry_agent.runtime.model import RuntimeLimits


@dataclass(slots=True)
class CrashHistory:
    """The crashes of one model's runners.

    The first restart in the window is immediate, the next waits ``backoff_initial_s``, and each further one
    twice as long. After ``max_crashes`` in the window the model is out of service until the oldest of them
    leaves the window.

    Args:
        limits: The numbers.
    """

    limits: RuntimeLimits
    total: int = 0
    last_error: str | None = None
    _times: list[float] = field(default_factory=list)

    def record(self, now: float, error: str) -> None:
        """Note a crash or a failed load. ``now`` is a monotonic time in seconds."""
        self.total += 1
        self.last_error = error
        self._forget(now)
        self._times.append(now)

    def clear(self) -> None:
        """Forget the crashes: another runner proved itself. The total stays."""
        self._times.clear()
        self.last_error = None

    def pause_s(self, now: float) -> float:
        """How long to wait before the next start, 0 for not at all."""
        self._forget(now)
        if len(self._times) < 2:  # noqa: PLR2004 - the first restart is free
            return 0.0
        pause = self.limits.backoff_initial_s * 2.0 ** (len(self._times) - 2)
        return max(0.0, self._times[-1] + min(pause, self.limits.backoff_max_s) - now)

    def out_of_service_s(self, now: float) -> float:
        """How long the model stays out of service from now, 0 when it is not."""
        self._forget(now)
        if len(self._times) < self.limits.max_crashes:
            return 0.0
        return max(0.0, self._times[-self.limits.max_crashes] + self.limits.crash_window_s - now)

    def _forget(self, now: float) -> None:
        self._times = [t for t in self._times if now - t < self.limits.crash_window_s][
            -self.limits.max_crashes :
        ]

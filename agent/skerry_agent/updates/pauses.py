"""Until when slots wait."""

from collections.abc import Callable, Collection

from skerry_agent.updates.backoff import full_jitter
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.ports import Clock
from skerry_agent.updates.step import Pause


class Pauses:
    """When each slot is worked on again. Kept in memory: after a start nothing waits.

    Args:
        clock: Time that passes.
        wall: The time of day, Unix seconds, for people.
        limits: Bounds of pauses.
        uniform: Random numbers in [0, 1).
    """

    def __init__(
        self, clock: Clock, wall: Callable[[], float], limits: UpdateLimits, uniform: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._limits = limits
        self._uniform = uniform
        self._failures: dict[str, int] = {}
        self._refusals: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._until: dict[str, int] = {}
        self._ended = False

    def begin(self) -> None:
        """A round begins: what ends all pauses from now on also ends those that begin in this round.

        Else news that come while a step runs would wait for the pause after that step.
        """
        self._ended = False

    def due(self, slot: str) -> float:
        """When the slot is worked on again, by the clock; long ago when it does not wait."""
        return self._due.get(slot, 0.0)

    def until(self, slot: str) -> int | None:
        """The same as a time of day, Unix seconds; None when it does not wait."""
        return self._until.get(slot)

    def wait(self, slot: str, pause: Pause) -> float:
        """Have a slot wait as a step said; returns the seconds."""
        if self._ended:
            self.end(slot)
            return 0.0
        if pause.after_s is not None:
            return self.wait_for(slot, pause.after_s)
        failures = self._failures[slot] = self._failures.get(slot, 0) + 1
        limits = self._limits
        delay_s = full_jitter(failures, limits.retry_initial_s, limits.retry_max_s, self._uniform)
        return self.wait_for(slot, max(delay_s, pause.at_least_s))

    def wait_after_wrong_bytes(self, slot: str) -> float:
        """Have a slot wait whose download was refused for wrong bytes; returns the seconds."""
        refusals = self._refusals[slot] = self._refusals.get(slot, 0) + 1
        limits = self._limits
        jitter_s = full_jitter(
            refusals, limits.wrong_retry_initial_s, limits.wrong_retry_max_s, self._uniform
        )
        return self.wait_for(slot, limits.wrong_retry_initial_s + jitter_s)

    def wait_for(self, slot: str, delay_s: float) -> float:
        """Have a slot wait; returns the seconds."""
        self._due[slot] = self._clock.monotonic() + delay_s
        self._until[slot] = int(self._wall() + delay_s + 0.5)
        return delay_s

    def end(self, slot: str) -> None:
        """Work on a slot at once, however often it failed."""
        self._due.pop(slot, None)
        self._until.pop(slot, None)

    def moved(self, slot: str) -> None:
        """A slot came further: its next failure is its first."""
        self._failures.pop(slot, None)
        self.end(slot)

    def renewed(self, slot: str) -> None:
        """Something new is wanted of a slot."""
        self._refusals.pop(slot, None)
        self.moved(slot)

    def end_all(self, but: Collection[str]) -> None:
        """Work on all slots at once that are not among ``but``."""
        self._ended = True
        for slot in [*self._due]:
            if slot not in but:
                self.end(slot)

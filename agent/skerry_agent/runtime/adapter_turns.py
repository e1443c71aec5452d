"""Whose turn it is when requests with different adapters are at work: only equal ones go into one step."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.runtime.job_state import JobState
from skerry_agent.runtime.requests import AdapterFile

TURN_S = 0.1
"""How long a group goes on while others wait. llama.cpp plans its graphs anew at each change, which costs
about as much as a step or two; longer turns would make the pauses felt in every answer."""

Adapters = tuple[AdapterFile, ...]


class AdapterModel(Protocol):
    """The part of the model that is used here."""

    def use_adapters(self, adapters: Sequence[AdapterFile]) -> None:
        """Compute the next steps with these adapters."""


class AdapterTurns:
    """Chooses, and sets the model accordingly.

    Args:
        model: The model; it begins without adapters.
        stats: Where to count.
        clock: Monotonic time in seconds.

    Attributes:
        current: The adapters of the steps now.
    """

    def __init__(
        self, model: AdapterModel, stats: EngineStats, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._model = model
        self._stats = stats
        self._clock = clock
        self.current: Adapters = ()
        self._until = 0.0
        self._served: dict[Adapters, float] = {}

    def choose(self, active: Sequence[JobState]) -> list[JobState]:
        """Of the active requests those that go into the next step: all of one group, in their order."""
        groups: dict[Adapters, list[JobState]] = {}
        for job in active:
            groups.setdefault(job.request.adapters, []).append(job)
        if not groups:
            return []
        now = self._clock()
        if self.current not in groups or (len(groups) > 1 and now >= self._until):
            self._served = {key: self._served.get(key, 0.0) for key in groups}
            self._served[self.current] = now
            self._change(min(groups, key=self._served.__getitem__), now)
        return groups[self.current]

    def _change(self, adapters: Adapters, now: float) -> None:
        self._until = now + TURN_S
        if adapters != self.current:
            self._model.use_adapters(adapters)
            self.current = adapters
            self._stats.adapter_switches += 1

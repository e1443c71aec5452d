"""Makes room in memory for a model, or refuses it with numbers."""

import asyncio
import contextlib
import sys
from collections.abc import Callable

import structlog

from skerry_agent.runtime.errors import ModelUnavailableError, NotEnoughMemoryError
from skerry_agent.runtime.memory_budget import Budget, Holder, RoomPlan, Want, plan_relief, plan_room
from skerry_agent.runtime.meter import Meter
from skerry_agent.runtime.model import MiB, RuntimeLimits
from skerry_agent.runtime.places import Claim, Place
from skerry_agent.runtime.roster import Roster
from skerry_agent.runtime.system_memory import ProcessMemory

log = structlog.get_logger(__name__)


class Room:
    """The byte budget over all runners of a roster.

    Args:
        roster: The runners.
        limits: The budget, and how long to wait for room.
        clock: Monotonic time in seconds.
        meter: Where to count.
        available: Memory that a program can have now, in bytes; None when that is not known.
        measure: What a process holds, by its id.
    """

    def __init__(
        self,
        roster: Roster,
        *,
        limits: RuntimeLimits,
        clock: Callable[[], float],
        meter: Meter,
        available: Callable[[], int | None],
        measure: Callable[[int], ProcessMemory],
    ) -> None:
        self._roster = roster
        self._limits = limits
        self._clock = clock
        self._meter = meter
        self._available = available
        self._measure = measure

    def measure(self) -> int:
        """Measure all runners; returns what comes back when they end, in bytes."""
        private = 0
        for loaded in self._roster.all():
            if not loaded.runner.exited.done():
                now = self._measure(loaded.runner.pid)
                loaded.holding.measure(now)
                private += now.private_bytes
        return private

    def budget(self) -> Budget:
        """What all models together may hold now."""
        available, own = self._available(), self.measure()
        limits = self._limits
        if available is None:
            size = limits.memory_budget_bytes or sys.maxsize
        elif limits.memory_budget_bytes:
            size = min(limits.memory_budget_bytes, available + own)
        else:
            size = int((available + own) * limits.automatic_memory_share)
        return Budget(size, limits.max_loaded)

    def load_fraction(self, place: Place) -> float | None:
        """How much of what a place needs its process holds already, 0 to 1; None while it does not load."""
        if place.loading_pid is None or place.need is None:
            return None
        now = self._measure(place.loading_pid)
        return min(1.0, (now.private_bytes + now.file_bytes) / max(1, place.need.loaded_bytes))

    def held_bytes(self) -> int:
        """What counts against the budget now."""
        return sum(holder.bytes for holder in self._holders(None))

    def free_for(self, replaces: str | None) -> int:
        """What a version could have that takes the place of a digest: all but what others hold for good."""
        budget = self.budget()
        return self._plan(Want(budget.bytes + 1), replaces, budget).available_bytes

    def fits_now(self, place: Place) -> bool:
        """Whether a place could be loaded with nothing else unloaded."""
        need = place.need.total_bytes if place.need else 0
        return self._plan(Want(need), None, self.budget()).fits

    def may_fit(self, place: Place) -> bool:
        """Whether a place could be loaded with others unloaded, now or when they are idle."""
        need = place.need.total_bytes if place.need else 0
        return not self._plan(Want(need), None, self.budget()).refused

    async def make(self, claim: Claim) -> None:
        """Wait until there is room, unloading what is worth least, and promise it.

        Raises:
            NotEnoughMemoryError: There will not be enough.
            ModelUnavailableError: Others were busy for ``load_timeout_s``.
        """
        held: list[Place] = []
        began = self._clock()
        patience_s = self._limits.load_timeout_s
        try:
            while not self._step(claim, held):
                if self._roster.candidates or self._roster.draining:  # they have deadlines of their own
                    began = self._clock()
                elif self._clock() - began >= patience_s:
                    raise ModelUnavailableError(
                        f"{claim.label} cannot be loaded: other models were busy for {patience_s:g} s;"
                        " try again, or raise memory_budget_bytes or max_loaded"
                    )
                self._roster.changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(began + patience_s - self._clock()):
                        await self._roster.changed.wait()
        finally:
            for place in held:
                place.let_in()

    def relieve(self) -> None:
        """Unload idle models while more is held than there is: others on this device need it."""
        leaving = {loaded.runner.pid for loaded in self._roster.draining}
        budget = self.budget()
        holders = [h for h in self._holders(None) if h.key not in {_key(pid) for pid in leaving}]
        for key in plan_relief(holders, budget):
            self._roster.unload(self._roster.places[key], "for_device")

    def _step(self, claim: Claim, held: list[Place]) -> bool:
        """Do what can be done at once; True when the room is there and promised."""
        budget = self.budget()
        want = Want(claim.need.total_bytes, counts=claim.counts, unload=claim.unload())
        plan = self._plan(want, claim.replaces, budget)
        if plan.fits:
            claim.promise()
            return True
        if plan.refused:
            self._meter.loads_refused += want.unload
            raise self._refusal(claim, plan, budget)
        for key in plan.hold_back:
            place = self._roster.places[key]
            if place not in held:
                place.hold_back()
                held.append(place)
        for key in plan.unload:
            place = self._roster.places[key]
            if key == claim.replaces:
                place.hold_back()
                claim.kept.append(place)
            self._roster.unload(place, claim.reason)
        return False

    def _plan(self, want: Want, replaces: str | None, budget: Budget) -> RoomPlan:
        return plan_room(want, self._holders(replaces), budget)

    def _holders(self, replaces: str | None) -> list[Holder]:
        now, roster = self._clock(), self._roster
        places = [p.holder(now, replaced=key == replaces) for key, p in roster.places.items()]
        passing = [
            Holder(_key(loaded.runner.pid), loaded.holding.bytes, "passing", counts=counts)
            for group, counts in ((roster.candidates, False), (roster.draining, True))
            for loaded in group
        ]
        claims = [Holder(c.label, c.need.total_bytes, "passing", counts=False) for c in roster.claims]
        return [*(holder for holder in places if holder is not None), *passing, *claims]

    def _refusal(self, claim: Claim, plan: RoomPlan, budget: Budget) -> NotEnoughMemoryError:
        need, available = claim.need.total_bytes, plan.available_bytes
        if available >= need:
            why = f"max_loaded is {budget.models}, and others are pinned: raise it or unpin one"
        else:
            kept = budget.bytes - available
            others = f", of which {kept / MiB:.0f} MiB stay with other models" if kept else ""
            why = (
                f"{available / MiB:.0f} MiB can be had: the budget is {budget.bytes / MiB:.0f} MiB{others};"
                " take a smaller model or context_tokens, or raise memory_budget_bytes"
            )
        log.warning("model_refused", model=claim.label, need_bytes=need, available_bytes=available)
        return NotEnoughMemoryError(
            f"{claim.label} needs {claim.need} and {why}", need_bytes=need, available_bytes=available
        )


def _key(pid: int) -> str:
    return f"process {pid}"

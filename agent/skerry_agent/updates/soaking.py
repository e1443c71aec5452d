"""A version that passed its checks takes requests: the switch, the soak, the way back."""

from dataclasses import dataclass, field

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.pairs import model_file
from skerry_agent.registry import ModelNotFoundError, Registry, SlotError
from skerry_agent.runtime import HealthCounts
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.ports import Clock, HealthView, Trier
from skerry_agent.updates.soak import Soak, judge_soak
from skerry_agent.updates.step import Go, Pause, Step, Work, find_installed, serving
from skerry_protocol.reported import Reason

log = structlog.get_logger(__name__)

SUPERSEDED = "superseded"


@dataclass(slots=True)
class _Mark:
    """When a soak was looked at, what the counters were then, and when it was last stored."""

    at: float
    counts: HealthCounts = field(default_factory=HealthCounts)
    stored_at: float = 0.0


class Soaking:
    """Switches slots, and watches what they switched to."""

    def __init__(
        self,
        registry: Registry,
        *,
        trier: Trier,
        health: HealthView,
        clock: Clock,
        limits: UpdateLimits,
    ) -> None:
        self._registry = registry
        self._trier = trier
        self._health = health
        self._clock = clock
        self._limits = limits
        self._marks: dict[str, _Mark] = {}

    async def switch(self, work: Work) -> Step:
        """Let the slot's requests go to the version; those in flight finish on the old one's runner."""
        slot, soak = work.record.slot, work.record.soak
        pair = find_installed(self._registry, work)
        if pair is None:
            return _gone(f"a file of {work.target.path} is gone")
        try:
            now = self._clock.monotonic()
            self._marks[slot] = _Mark(now, self._health.counts(pair.model.file_sha256), now)
            await self._registry.activate(
                slot, pair.model.ref, target_sha256=work.target.sha256, adapters=pair.adapters
            )
        except ModelNotFoundError as error:
            return _gone(str(error))
        try:
            await self._trier.promote(model_file(pair))
        except AgentError as error:
            # The slot is switched: the next request loads the model anew.
            log.warning("promotion_failed", slot=slot, ref=pair.text, error=str(error))
        if soak is None or not soak.total_s:
            await self._trier.settle()
            return Go("proved", {"soak": None})
        return Go("switched", {"reason": _soaking(soak)})

    async def soak(self, work: Work) -> Step:
        """Look how the version fares, and decide; the version before stays ready."""
        slot, soak = work.record.slot, work.record.soak
        active = serving(self._registry.slots_now, slot)
        if soak is None or active is None or not work.record.is_served_by(active):
            # Somebody activated another version: this one is no longer on trial.
            return Go("failed", {"reason": Reason("not_active", "another version was activated in the slot")})
        now, counts = self._clock.monotonic(), self._health.counts(active.model.file_sha256)
        # After a restart the counters began at zero, with the agent.
        mark = self._marks.get(slot) or _Mark(now)
        soak = soak.look(max(0.0, now - mark.at), counts - mark.counts, self._health.celsius())
        lasting = now - mark.stored_at >= self._limits.soak_store_s
        self._marks[slot] = _Mark(now, counts, now if lasting else mark.stored_at)
        changes = {"soak": soak, "figures": {**work.record.figures, **soak.figures()}}
        reason = judge_soak(soak, self._limits)
        if reason is not None:
            return Go("failed", {**changes, "reason": reason})
        if not soak.left_s:
            await self._trier.settle()
            return Go("proved", changes)
        wait_s = min(self._limits.soak_look_s, soak.left_s)
        return Pause(_soaking(soak), wait_s, changes=changes, lasting=lasting)

    async def go_back(self, work: Work) -> Step:
        """Let the version before serve again."""
        record = work.record
        reason = (
            record.because or record.reason or Reason("trial_failed", f"{work.target.path} failed its trial")
        )
        self._marks.pop(record.slot, None)
        active = serving(self._registry.slots_now, record.slot)
        if work.record.is_served_by(active):
            try:
                await self._registry.rollback(record.slot)
            except SlotError as error:
                message = f"{reason.message}; but it still serves, since {error}"
                return Go("no_way_back", {"reason": Reason("no_way_back", message)})
        await self._trier.settle()
        if reason.code == SUPERSEDED:
            return Go("withdrawn")
        return Go("went_back", {"reason": reason})


def _gone(message: str) -> Go:
    return Go("failed", {"reason": Reason("file_missing", message), "soak": None})


def superseded(record_slot: str) -> Reason:
    """Why a version goes back that did nothing wrong."""
    return Reason(SUPERSEDED, f"something else is wanted in {record_slot} before this version was proven")


def _soaking(soak: Soak) -> Reason:
    return Reason("soaking", f"takes requests on trial for {soak.total_s:g} s")

"""Who has to make room for a model that is to be loaded: functions of values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

DEMAND_HALF_LIFE_S = 600.0

HolderState = Literal["idle", "busy", "passing", "fixed"]


@dataclass(slots=True)
class Demand:
    """How much a model is wanted: each request counts 1, and half as much after each half-life."""

    _score: float = 0.0
    _at: float = 0.0

    def count(self, now: float) -> None:
        """A request came. ``now`` is a monotonic time in seconds."""
        self._score = self.at(now) + 1.0
        self._at = now

    def at(self, now: float) -> float:
        """The score at a time: how often and how lately it was wanted, in one number."""
        return self._score * math.exp2(-max(0.0, now - self._at) / DEMAND_HALF_LIFE_S)


def model_value(*, load_s: float, demand: float) -> float:
    """What unloading a model would cost: the time to load it again, times how likely that is."""
    return load_s * demand


@dataclass(frozen=True, slots=True)
class Holder:
    """Something that holds memory.

    Attributes:
        key: Its name.
        bytes: What it holds, or was promised.
        state: ``idle`` may be unloaded at once, ``busy`` when its requests have ended, ``passing`` will go or
            become idle by itself (it drains, loads, or is on trial), ``fixed`` stays (pinned).
        value: See ``model_value``.
        last_used: Decides between equal values: a monotonic time in seconds.
        counts: Whether it counts towards the greatest number of models.
        last: Unload it only if all others are not enough.
    """

    key: str
    bytes: int
    state: HolderState
    value: float = 0.0
    last_used: float = 0.0
    counts: bool = True
    last: bool = False


@dataclass(frozen=True, slots=True)
class Want:
    """Memory that is wanted.

    Attributes:
        bytes: How much.
        counts: Whether the model counts towards the greatest number of models.
        unload: Whether others may be unloaded for it.
    """

    bytes: int
    counts: bool = True
    unload: bool = True


@dataclass(frozen=True, slots=True)
class Budget:
    """What all models together may hold; ``models`` is their greatest number, 0 for any."""

    bytes: int
    models: int = 0


@dataclass(frozen=True, slots=True)
class RoomPlan:
    """What to do for a model that wants memory.

    Attributes:
        fits: It may be loaded now; nothing else is to do.
        refused: It will not fit, whatever ends: ``available_bytes`` is what it could have.
        unload: Unload these now.
        hold_back: Give these no new requests, so that they can be unloaded when theirs have ended.
    """

    fits: bool = False
    refused: bool = False
    unload: tuple[str, ...] = ()
    hold_back: tuple[str, ...] = ()
    available_bytes: int = 0


@dataclass(slots=True)
class _Room:
    """How much is free when some holders are gone."""

    want: Want
    budget: Budget
    holders: Sequence[Holder]
    gone: set[str] = field(default_factory=set)

    def free_bytes(self) -> int:
        return self.budget.bytes - sum(h.bytes for h in self.holders if h.key not in self.gone)

    def enough(self) -> bool:
        left = sum(h.counts for h in self.holders if h.key not in self.gone)
        too_many = self.want.counts and self.budget.models and left >= self.budget.models
        return self.free_bytes() >= self.want.bytes and not too_many

    def choose(self, candidates: Sequence[Holder]) -> list[Holder] | None:
        """The least valuable candidates that are enough, none of them needlessly; None when all are not."""
        chosen: list[Holder] = []
        for holder in candidates:
            if self.enough():
                break
            self.gone.add(holder.key)
            chosen.append(holder)
        if not self.enough():
            return None
        for holder in reversed(chosen.copy()):
            self.gone.discard(holder.key)
            if self.enough():
                chosen.remove(holder)
            else:
                self.gone.add(holder.key)
        return chosen


def plan_room(want: Want, holders: Sequence[Holder], budget: Budget) -> RoomPlan:
    """Decide who makes room: what goes by itself, then what is idle, then what is busy, least value first."""
    if _Room(want, budget, holders).enough():
        return RoomPlan(fits=True)
    passing = {h.key for h in holders if h.state == "passing"}
    order = sorted(holders, key=lambda h: (h.last, h.state == "busy", h.value, h.last_used, -h.bytes))
    unloadable = [h for h in order if h.state in ("idle", "busy") and (want.unload or h.last)]
    for candidates in (
        [h for h in unloadable if h.state == "idle" and not h.last],
        [h for h in unloadable if h.last],
        unloadable,
    ):
        chosen = _Room(want, budget, holders, gone=set(passing)).choose(candidates)
        if chosen is not None:
            return RoomPlan(
                unload=tuple(h.key for h in chosen if h.state == "idle"),
                hold_back=tuple(h.key for h in chosen if h.state == "busy"),
            )
    all_gone = _Room(want, budget, holders, gone=passing | {h.key for h in unloadable})
    return RoomPlan(refused=True, available_bytes=max(0, all_gone.free_bytes()))


def plan_relief(holders: Sequence[Holder], budget: Budget) -> tuple[str, ...]:
    """Whom to unload because more is held than there is: idle ones only, least value first."""
    idle = sorted(
        (h for h in holders if h.state == "idle"), key=lambda h: (h.last, h.value, h.last_used, -h.bytes)
    )
    chosen = _Room(Want(0, counts=False), budget, holders).choose(idle)
    return tuple(h.key for h in (idle if chosen is None else chosen))

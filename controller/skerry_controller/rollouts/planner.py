"""Planning a rollout: a pure function from (rollout, devices, clock) to what to do next.

It decides one step at a time. Whoever runs it applies the step in a transaction and plans again, so a
controller that restarts in between goes on where it was.

A device counts as done only when its own signed report says so: committed, on this target's path and
hash, in the attempt that this rollout assigned, and serving it. A device that is offline is waited for.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from skerry_controller.rollouts.shares import Share
from skerry_protocol.reported import SlotReport

RolloutState = Literal["running", "paused", "succeeded", "aborted"]
ACTIVE_STATES: frozenset[RolloutState] = frozenset({"running", "paused"})
Standing = Literal["unassigned", "pending", "committed", "failed"]


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """A rollout as the planner sees it.

    Attributes:
        id: Also seeds the order of devices.
        target_path: Where the channel goes.
        target_sha256: Its hash.
        adapters: Hashes of the manifests of the adapters on it.
        waves: Cumulative sizes; the last is everything.
        max_failures: How many of the assigned devices may fail.
        soak_s: Seconds that a finished wave must stay good.
        state: Only ``running`` is planned.
        wave: Index of the current wave.
        wave_done_at: Since when (Unix seconds) the current wave is finished, or ``None``.
    """

    id: str
    target_path: str
    target_sha256: str
    waves: tuple[Share, ...]
    max_failures: Share
    soak_s: float
    state: RolloutState = "running"
    wave: int = 0
    wave_done_at: float | None = None
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device of the channel.

    Attributes:
        device: Its id.
        attempt: The attempt that this rollout assigned, or ``None``: not assigned yet.
        slot: The channel's slot in its newest report.
    """

    device: str
    attempt: int | None = None
    slot: SlotReport | None = None


@dataclass(frozen=True, slots=True)
class Assign:
    """Give these devices the target."""

    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FinishWave:
    """Every assigned device has settled: the soak time starts."""


@dataclass(frozen=True, slots=True)
class ReopenWave:
    """A device of the wave is on its way again: the soak time starts over when it has settled."""


@dataclass(frozen=True, slots=True)
class AdvanceWave:
    """Go to the next wave."""

    wave: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop, and ask a person."""

    reason: str


@dataclass(frozen=True, slots=True)
class Succeed:
    """The channel moves."""

    note: str


Action = Assign | FinishWave | ReopenWave | AdvanceWave | Pause | Succeed


def order(rollout_id: str, devices: Sequence[DeviceView]) -> list[DeviceView]:
    """The order in which devices take their turn: the same for one rollout, another for each."""
    return sorted(devices, key=lambda view: hashlib.sha256(f"{rollout_id}/{view.device}".encode()).digest())


def standing(rollout: RolloutPlan, view: DeviceView) -> Standing:
    """Where a device stands, by its own report."""
    if view.attempt is None:
        return "unassigned"
    slot = view.slot
    if slot is None or slot.target_path != rollout.target_path or slot.attempt != view.attempt:
        return "pending"
    if slot.adapters != rollout.adapters:
        return "pending"
    if slot.state in ("refused", "rolled_back"):
        return "failed"
    if slot.state == "committed" and slot.target_sha256 == rollout.target_sha256 and _serves(rollout, slot):
        return "committed"
    return "pending"


def _serves(rollout: RolloutPlan, slot: SlotReport) -> bool:
    active = slot.active
    if active is None or active.target_sha256 != rollout.target_sha256:
        return False
    return tuple(adapter.target_sha256 for adapter in active.adapters) == rollout.adapters


def plan(
    rollout: RolloutPlan, devices: Sequence[DeviceView], *, now: float, window_open: bool
) -> Action | None:
    """The next step, or ``None`` when there is nothing to do before something changes.

    Args:
        rollout: The rollout.
        devices: All devices that follow the channel now.
        now: Unix seconds.
        window_open: Whether devices may be assigned now.
    """
    if rollout.state != "running":
        return None
    if not devices:
        return Succeed("no device follows the channel; nothing was measured")
    standings = [(view, standing(rollout, view)) for view in order(rollout.id, devices)]
    assigned = [(view, where) for view, where in standings if where != "unassigned"]
    failed = [view for view, where in assigned if where == "failed"]
    allowed = rollout.max_failures.at_most(len(assigned))
    if len(failed) > allowed:
        return Pause(_failure_text(failed, len(assigned), allowed))
    missing = _wave_size(rollout, rollout.wave, len(devices)) - len(assigned)
    if missing > 0 and window_open:
        return Assign(tuple(view.device for view, where in standings if where == "unassigned")[:missing])
    if missing > 0 or any(where == "pending" for _, where in assigned):
        return ReopenWave() if rollout.wave_done_at is not None else None
    return _settled(rollout, failed, assigned=len(assigned), total=len(devices), now=now)


def _settled(
    rollout: RolloutPlan, failed: list[DeviceView], *, assigned: int, total: int, now: float
) -> Action | None:
    if rollout.wave_done_at is None:
        return FinishWave()
    if now < rollout.wave_done_at + rollout.soak_s:
        return None
    # A wave that adds nobody (10% of two devices, after the first) has nothing to soak.
    for wave in range(rollout.wave + 1, len(rollout.waves)):
        if _wave_size(rollout, wave, total) > assigned:
            return AdvanceWave(wave)
    if len(failed) == assigned:
        return Pause(f"no device committed the version: {_first_reason(failed)}")
    note = f"{assigned - len(failed)} of {assigned} devices committed"
    return Succeed(f"{note}; {_first_reason(failed)}" if failed else note)


def _wave_size(rollout: RolloutPlan, wave: int, total: int) -> int:
    return max(share.at_least(total) for share in rollout.waves[: wave + 1])


def _failure_text(failed: list[DeviceView], assigned: int, allowed: int) -> str:
    count = f"{len(failed)} of {assigned} assigned devices failed, {allowed} may: {_first_reason(failed)}"
    return count if len(failed) == 1 else f"{count} (and {len(failed) - 1} more)"


def _first_reason(failed: list[DeviceView]) -> str:
    view = failed[0]
    if view.slot is None:  # a failure is always read from a slot
        raise ValueError(f"{view.device} failed without a report")
    reason = view.slot.reason
    why = f"{view.slot.state} ({reason.code}: {reason.message})" if reason else view.slot.state
    return f"{view.device} {why}"

"""Reads from the database what the planner needs to know about one rollout."""

from dataclasses import dataclass

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.database import DeviceRow, RolloutRow
from skerry_controller.fleet.channels import find_channel
from skerry_controller.fleet.desired import AssignmentView, slot_for
from skerry_controller.fleet.plan_loading import load_assignments, load_plan, load_targets
from skerry_controller.rollouts.planner import DeviceView, RolloutPlan, RolloutState, standing
from skerry_controller.rollouts.shares import Share
from skerry_protocol.reported import SlotReport
from skerry_protocol.selectors import Selector


@dataclass(frozen=True, slots=True)
class LoadedRollout:
    """A rollout and its devices.

    Attributes:
        plan: The rollout as the planner sees it.
        devices: All devices that follow the channel.
        next_attempts: Device -> the attempt in which it would be given the target now.
    """

    plan: RolloutPlan
    devices: list[DeviceView]
    next_attempts: dict[str, int]


async def load_rollout(session: AsyncSession, row: RolloutRow) -> LoadedRollout:
    """Everything about one rollout, as of this session."""
    targets = await load_targets(session)
    plan = _plan(row, *(targets[path].sha256 for path in (row.to_target_path, *row.to_adapter_paths)))
    channel_row = await find_channel(session, row.channel)
    selector = Selector.parse(channel_row.selector)
    fleet = await load_plan(session)
    channel = next(each for each in fleet.channels if each.name == row.channel)
    assignments = await load_assignments(session, channel=row.channel)
    query = select(DeviceRow.id, DeviceRow.labels, DeviceRow.reported[("slots", row.channel)]).where(
        DeviceRow.revoked_at.is_(None)
    )
    devices, attempts = [], {}
    for device, labels, raw_slot in await session.execute(query):
        if not selector.matches(labels):
            continue
        slot = None if raw_slot is None else msgspec.convert(raw_slot, SlotReport)
        assignment = assignments.get(device, {}).get(row.channel)
        devices.append(DeviceView(device, _assigned_attempt(assignment, row), slot))
        effective = slot_for(channel, assignment, fleet.active_rollouts)
        attempts[device] = next_attempt(plan, 0 if effective is None else effective.attempt, slot)
    return LoadedRollout(plan, devices, attempts)


def next_attempt(plan: RolloutPlan, desired_attempt: int, slot: SlotReport | None) -> int:
    """The attempt in which a device is given the target: above all former ones, so no old report counts.

    A device that runs the target already, as its desired state asks, keeps its attempt: nothing is to be
    tried again.
    """
    reported = 0 if slot is None else slot.attempt
    runs_it = standing(plan, DeviceView("", reported, slot)) == "committed" and reported > 0
    if runs_it and reported >= desired_attempt:
        return reported
    return max(desired_attempt, reported) + 1


def _assigned_attempt(assignment: AssignmentView | None, row: RolloutRow) -> int | None:
    if assignment is None or assignment.rollout != row.id:
        return None
    return assignment.attempt


def _plan(row: RolloutRow, sha256: str, *adapters: str) -> RolloutPlan:
    state: RolloutState = msgspec.convert(row.state, RolloutState)
    return RolloutPlan(
        id=row.id,
        target_path=row.to_target_path,
        target_sha256=sha256,
        adapters=adapters,
        waves=tuple(Share.parse(wave) for wave in row.waves),
        max_failures=Share.parse(row.max_failures),
        soak_s=row.soak_s,
        state=state,
        wave=row.wave,
        wave_done_at=None if row.wave_done_at is None else row.wave_done_at.timestamp(),
    )

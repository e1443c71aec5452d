"""Carries out what the planner decided, inside the caller's transaction."""

from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.audit import note
from skerry_controller.database import AssignmentRow, ChannelRow, RolloutRow
from skerry_controller.rollouts.loading import LoadedRollout
from skerry_controller.rollouts.planner import (
    Action,
    AdvanceWave,
    Assign,
    FinishWave,
    Pause,
    ReopenWave,
    Succeed,
)

log = structlog.get_logger(__name__)


async def apply_action(
    session: AsyncSession, row: RolloutRow, action: Action, loaded: LoadedRollout, *, now: datetime
) -> None:
    """Change the rows as the action says."""
    match action:
        case Assign(devices):
            for device in devices:
                await _assign(session, row, device, loaded.next_attempts[device], now)
        case FinishWave():
            row.wave_done_at = now
        case ReopenWave():
            row.wave_done_at = None
        case AdvanceWave(wave):
            row.wave, row.wave_done_at = wave, None
        case Pause(reason):
            row.state, row.reason = "paused", reason
            _tell(session, row, "rollout_paused", now)
        case Succeed(text):
            row.state, row.reason, row.finished_at = "succeeded", text, now
            channel = await session.get_one(ChannelRow, row.channel)
            channel.current_target_path = row.to_target_path
            channel.current_adapter_paths = list(row.to_adapter_paths)
            _tell(session, row, "rollout_succeeded", now)
    log.info("rollout_step", rollout=row.id, channel=row.channel, step=type(action).__name__, wave=row.wave)


async def _assign(session: AsyncSession, row: RolloutRow, device: str, attempt: int, now: datetime) -> None:
    assignment = await session.get(AssignmentRow, (device, row.channel))
    if assignment is None:
        assignment = AssignmentRow(device_id=device, channel=row.channel)
        session.add(assignment)
    assignment.target_path = row.to_target_path
    assignment.adapter_paths = list(row.to_adapter_paths)
    assignment.attempt = attempt
    assignment.rollout_id = row.id
    assignment.wave = row.wave
    assignment.assigned_at = now


def _tell(session: AsyncSession, row: RolloutRow, action: str, now: datetime) -> None:
    note(
        session,
        at=now,
        actor="system",
        action=action,
        subject=row.id,
        channel=row.channel,
        reason=row.reason,
    )

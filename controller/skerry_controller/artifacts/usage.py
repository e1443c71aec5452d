"""Who uses an artifact."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.database import AssignmentRow, ChannelRow, ConfigAssignmentRow, RolloutRow
from skerry_controller.errors import ConflictError
from skerry_protocol.names import ArtifactRef


async def check_unused(session: AsyncSession, path: str, ref: ArtifactRef) -> None:
    """Refuse to take away what something needs.

    Raises:
        ConflictError: Something uses the target; names the first that does.
    """
    channel = await session.scalar(select(ChannelRow.name).where(ChannelRow.current_target_path == path))
    if channel is not None:
        raise ConflictError(f"channel {channel} is at {ref}: move it to another version first")
    rollout = await session.scalar(
        select(RolloutRow.id).where(
            (RolloutRow.to_target_path == path) | (RolloutRow.from_target_path == path),
            RolloutRow.finished_at.is_(None),
        )
    )
    if rollout is not None:
        raise ConflictError(f"rollout {rollout} is about {ref}: wait for its end, or abort it")
    device = await session.scalar(select(AssignmentRow.device_id).where(AssignmentRow.target_path == path))
    if device is not None:
        raise ConflictError(f"device {device} should run {ref}: move it to another version first")
    selector = await session.scalar(
        select(ConfigAssignmentRow.selector).where(ConfigAssignmentRow.target_path == path)
    )
    if selector is not None:
        raise ConflictError(
            f"{ref} is assigned to the devices {selector or '(all)'}: take it from them first"
        )

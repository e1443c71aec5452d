"""Who uses an artifact."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.database import (
    ArtifactFileRow,
    ArtifactRow,
    AssignmentRow,
    ChannelRow,
    ConfigAssignmentRow,
    RolloutRow,
)
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
    await _check_adapter_unused(session, path, ref)
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


async def _check_adapter_unused(session: AsyncSession, path: str, ref: ArtifactRef) -> None:
    """The same where it is one of several in a row, and of models on which published adapters stand."""
    for name, paths in await session.execute(select(ChannelRow.name, ChannelRow.current_adapter_paths)):
        if path in paths:
            raise ConflictError(f"channel {name} is at {ref}: move it to another version first")
    unfinished = select(RolloutRow).where(RolloutRow.finished_at.is_(None))
    for rollout in await session.scalars(unfinished):
        if path in (*rollout.to_adapter_paths, *rollout.from_adapter_paths):
            raise ConflictError(f"rollout {rollout.id} is about {ref}: wait for its end, or abort it")
    for device, paths in await session.execute(select(AssignmentRow.device_id, AssignmentRow.adapter_paths)):
        if path in paths:
            raise ConflictError(f"device {device} should run {ref}: move it to another version first")
    files = select(ArtifactRow).where(ArtifactRow.withdrawn_at.is_(None))
    published = list(await session.scalars(files))
    mine = next((row for row in published if row.target_path == path), None)
    if mine is None or mine.kind != "model":
        return
    elsewhere = {f.sha256 for r in published if r.kind == "model" and r is not mine for f in r.files}
    for row in published:
        base = row.description.get("base_sha256")
        if mine.has_file(base) and base not in elsewhere:
            raise ConflictError(f"{ref} is the base of {row.name}@{row.version}: remove that adapter first")


async def find_with_file(
    session: AsyncSession, sha256: str, *, kind: str | None = None
) -> ArtifactRow | None:
    """An artifact that has this file in one of its variants, and is not withdrawn."""
    query = (
        select(ArtifactRow)
        .join(ArtifactFileRow, ArtifactFileRow.target_path == ArtifactRow.target_path)
        .where(ArtifactFileRow.sha256 == sha256, ArtifactRow.withdrawn_at.is_(None))
    )
    if kind is not None:
        query = query.where(ArtifactRow.kind == kind)
    return await session.scalar(query.order_by(ArtifactRow.published_at).limit(1))

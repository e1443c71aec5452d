"""Reads the fleet's plan from the database, for the pure functions."""

from collections import defaultdict
from collections.abc import Mapping

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
from skerry_controller.fleet.desired import AssignmentView, ChannelView, ConfigView, FleetPlan
from skerry_protocol.desired import TargetRef
from skerry_protocol.device_facts import is_fact
from skerry_protocol.selectors import Selector

ACTIVE_ROLLOUT_STATES = ("running", "paused")


async def load_targets(session: AsyncSession) -> dict[str, TargetRef]:
    """Every published target by path, as desired states name it."""
    columns = select(ArtifactRow.target_path, ArtifactRow.target_sha256, ArtifactRow.target_length)
    return {
        path: TargetRef(path=path, sha256=sha256, length=length)
        for path, sha256, length in await session.execute(columns)
    }


async def load_plan(session: AsyncSession) -> FleetPlan:
    """The plan of the whole fleet."""
    targets = await load_targets(session)
    channels = [
        ChannelView(
            row.name,
            Selector.parse(row.selector),
            None if row.current_target_path is None else targets[row.current_target_path],
            tuple(targets[path] for path in row.current_adapter_paths),
        )
        for row in await session.scalars(select(ChannelRow))
    ]
    ordered = select(ConfigAssignmentRow).order_by(ConfigAssignmentRow.position, ConfigAssignmentRow.id)
    configs = [
        ConfigView(Selector.parse(row.selector), targets[row.target_path])
        for row in await session.scalars(ordered)
    ]
    active = await session.scalars(select(RolloutRow.id).where(RolloutRow.state.in_(ACTIVE_ROLLOUT_STATES)))
    return FleetPlan(channels, configs, frozenset(active), await _label_keys(session))


async def _label_keys(session: AsyncSession) -> dict[str, frozenset[str]]:
    """By target path, the keys in its variants' selectors that a device does not know by itself."""
    query = select(ArtifactFileRow.target_path, ArtifactFileRow.selector).where(
        ArtifactFileRow.selector != ""
    )
    found: dict[str, frozenset[str]] = {}
    for path, selector in await session.execute(query):
        keys = {term.key for term in Selector.parse(selector).terms if not is_fact(term.key)}
        found[path] = found.get(path, frozenset()) | keys
    return {path: keys for path, keys in found.items() if keys}


async def load_assignments(
    session: AsyncSession, *, device: str | None = None, channel: str | None = None
) -> Mapping[str, Mapping[str, AssignmentView]]:
    """Device -> channel -> assignment, for all or for one device or channel."""
    query = select(AssignmentRow, ArtifactRow.target_sha256, ArtifactRow.target_length).join(
        ArtifactRow, ArtifactRow.target_path == AssignmentRow.target_path
    )
    if device is not None:
        query = query.where(AssignmentRow.device_id == device)
    if channel is not None:
        query = query.where(AssignmentRow.channel == channel)
    found: dict[str, dict[str, AssignmentView]] = defaultdict(dict)
    targets = await load_targets(session)
    for row, sha256, length in await session.execute(query):
        target = TargetRef(path=row.target_path, sha256=sha256, length=length)
        found[row.device_id][row.channel] = AssignmentView(
            target, row.attempt, row.rollout_id, tuple(targets[path] for path in row.adapter_paths)
        )
    return found

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.audit import note
from skerry_controller.clock import Clock
from skerry_controller.database import ArtifactRow, ChannelRow, Database, DeviceRow, RolloutRow
from skerry_controller.errors import ConflictError, NotFoundError, UsageError
from skerry_controller.fleet.plan_loading import ACTIVE_ROLLOUT_STATES
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.names import ArtifactRef, Channel, parse_target_path
from skerry_protocol.selectors import Selector


@dataclass(frozen=True, slots=True)
class ChannelSummary:
    """One channel.

    Attributes:
        name: ``LINE/TRACK``.
        selector: Whose labels match follows it.
        current: ``NAME@VERSION`` that a new device gets, if any.
        adapters: ``NAME@VERSION`` of the adapters on it.
        devices: How many devices follow it.
        rollout: The rollout that runs or is paused on it.
        created_at: When it was made.
    """

    name: str
    selector: str
    current: str | None
    devices: int
    rollout: str | None
    created_at: datetime
    adapters: list[str]


class Channels:
    """Named lines of versions that devices follow by their labels."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def set(
        self,
        name: str,
        *,
        selector: str | None,
        artifact: str | None,
        actor: str,
        adapters: Sequence[str] = (),
    ) -> ChannelSummary:
        """Make a channel, or change whom it selects; whoever calls this has the fleet refreshed.

        The first version may be given here: all devices that follow the channel get it at once. From
        then on only a rollout moves it.

        Args:
            name: ``LINE/TRACK``.
            selector: Label selector; needed for a new channel, ``None`` leaves it as it is.
            artifact: ``NAME@VERSION`` of a published model.
            actor: Who does it.
            adapters: ``NAME@VERSION`` of adapters that were made for the model.

        Raises:
            NameSyntaxError: A name or the selector is malformed.
            NotFoundError: There is no such artifact.
            ConflictError: The channel has another version already, or a rollout is under way.
            UsageError: A new channel without a selector, one channel too many, or no model.
        """
        Channel.parse(name)
        if adapters and artifact is None:
            raise UsageError("adapters are part of a version: give the model with --artifact too")
        if selector is not None:
            selector = str(Selector.parse(selector))
        async with self._database.transaction() as session:
            row = await session.get(ChannelRow, name)
            if row is None:
                row = await self._new(session, name, selector)
            elif selector is not None:
                row.selector = selector
            if artifact is not None:
                await self._set_first_version(session, row, artifact, adapters)
            note(
                session,
                at=self._clock(),
                actor=actor,
                action="channel_set",
                subject=name,
                selector=row.selector,
                artifact=artifact,
                **({"adapters": list(adapters)} if adapters else {}),
            )
        return await self.show(name)

    async def list(self) -> list[ChannelSummary]:
        """All channels by name."""
        async with self._database.session() as session:
            rows = (await session.scalars(select(ChannelRow).order_by(ChannelRow.name))).all()
            return await _summaries(session, rows)

    async def show(self, name: str) -> ChannelSummary:
        """One channel.

        Raises:
            NotFoundError: There is no such channel.
        """
        async with self._database.session() as session:
            row = await find_channel(session, name)
            return (await _summaries(session, [row]))[0]

    async def _new(self, session: AsyncSession, name: str, selector: str | None) -> ChannelRow:
        if selector is None:
            raise UsageError(f"{name} is a new channel: say who follows it, such as --selector site=lab")
        count = await session.scalar(select(func.count()).select_from(ChannelRow))
        if (count or 0) >= DEFAULT_LIMITS.max_slots:
            raise UsageError(
                f"there are {count} channels; a device can follow {DEFAULT_LIMITS.max_slots} at most"
            )
        row = ChannelRow(
            name=name,
            selector=selector,
            current_target_path=None,
            current_adapter_paths=[],
            created_at=self._clock(),
        )
        session.add(row)
        return row

    async def _set_first_version(
        self, session: AsyncSession, row: ChannelRow, artifact: str, adapters: Sequence[str]
    ) -> None:
        path, adapter_paths = await find_version(session, artifact, adapters)
        if (row.current_target_path, row.current_adapter_paths) == (path, adapter_paths):
            return
        if row.current_target_path is not None:
            raise ConflictError(
                f"{row.name} is at {_ref(row.current_target_path)}: "
                f"'skerry rollout create {row.name} --to {artifact}' moves it"
            )
        active = await active_rollout(session, row.name)
        if active is not None:
            raise ConflictError(f"rollout {active} is moving {row.name}: wait for it, or abort it")
        row.current_target_path, row.current_adapter_paths = path, adapter_paths


async def find_version(session: AsyncSession, model: str, adapters: Sequence[str]) -> tuple[str, list[str]]:
    """Target paths of a published model, and of published adapters that were made for its file.

    Raises:
        NameSyntaxError, NotFoundError: As :func:`find_artifact`.
        UsageError: One is of another kind or given twice, an adapter is for another model, or there are too
            many.
    """
    base = await find_artifact(session, model, kind="model")
    found = [await find_artifact(session, adapter, kind="adapter") for adapter in adapters]
    for adapter in found:
        if not base.has_file(adapter.description.get("base_sha256")):
            raise UsageError(f"{adapter.name}@{adapter.version} was not made for the file of {model}")
    paths = [adapter.target_path for adapter in found]
    if len(set(paths)) != len(paths) or len(paths) > DEFAULT_LIMITS.max_adapters:
        raise UsageError(f"a model takes {DEFAULT_LIMITS.max_adapters} adapters at most, each once")
    return base.target_path, paths


async def find_channel(session: AsyncSession, name: str) -> ChannelRow:
    """The channel's row.

    Raises:
        NotFoundError: There is no such channel.
    """
    row = await session.get(ChannelRow, name)
    if row is None:
        names: Sequence[str] = (
            await session.scalars(select(ChannelRow.name).order_by(ChannelRow.name))
        ).all()
        known = f"there are {', '.join(names)}" if names else "'skerry channel set' makes one"
        raise NotFoundError(f"there is no channel {name!r}: {known}")
    return row


async def find_artifact(session: AsyncSession, ref: str, *, kind: str) -> ArtifactRow:
    """The published artifact of this kind.

    Raises:
        NameSyntaxError: ``ref`` is not ``NAME@VERSION``.
        NotFoundError: It is not published.
        UsageError: It is of another kind.
    """
    row = await find_artifact_of_any_kind(session, ref)
    if row.kind != kind:
        raise UsageError(f"{ref} is a {row.kind}, not a {kind}")
    return row


async def find_artifact_of_any_kind(session: AsyncSession, ref: str) -> ArtifactRow:
    """The published artifact.

    Raises:
        NameSyntaxError: ``ref`` is not ``NAME@VERSION``.
        NotFoundError: It is not published.
    """
    name, version, _ = ArtifactRef.parse(ref)
    row = await session.scalar(
        select(ArtifactRow).where(
            ArtifactRow.name == name, ArtifactRow.version == version, ArtifactRow.withdrawn_at.is_(None)
        )
    )
    if row is None or ref.startswith("local/"):
        versions: Sequence[str] = (
            await session.scalars(
                select(ArtifactRow.version).where(
                    ArtifactRow.name == name, ArtifactRow.withdrawn_at.is_(None)
                )
            )
        ).all()
        known = (
            f"of {name} there is {', '.join(versions)}" if versions else "'skerry artifact list' shows all"
        )
        raise NotFoundError(f"{ref} is not published: {known}")
    return row


async def active_rollout(session: AsyncSession, channel: str) -> str | None:
    """Id of the rollout that runs or is paused on a channel."""
    return await session.scalar(
        select(RolloutRow.id).where(
            RolloutRow.channel == channel, RolloutRow.state.in_(ACTIVE_ROLLOUT_STATES)
        )
    )


async def _summaries(session: AsyncSession, rows: Sequence[ChannelRow]) -> list[ChannelSummary]:
    labels: Sequence[dict[str, Any]] = (
        await session.scalars(select(DeviceRow.labels).where(DeviceRow.revoked_at.is_(None)))
    ).all()
    summaries = []
    for row in rows:
        selector = Selector.parse(row.selector)
        summaries.append(
            ChannelSummary(
                name=row.name,
                selector=row.selector,
                current=None if row.current_target_path is None else _ref(row.current_target_path),
                devices=sum(selector.matches(each) for each in labels),
                rollout=await active_rollout(session, row.name),
                created_at=row.created_at,
                adapters=[_ref(path) for path in row.current_adapter_paths],
            )
        )
    return summaries


def _ref(path: str) -> str:
    return str(parse_target_path(path)[1])

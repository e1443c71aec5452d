from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select, update

from skerry_controller.audit import note
from skerry_controller.clock import Clock
from skerry_controller.database import Database, DeviceRow
from skerry_controller.errors import NotFoundError, UsageError
from skerry_controller.fleet.presence import Presence, presence
from skerry_protocol.desired import DesiredState, decode_desired
from skerry_protocol.envelope import parse
from skerry_protocol.generation import Generation
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.names import parse_target_path
from skerry_protocol.reported import ReportedState, SlotReport
from skerry_protocol.selectors import Selector, check_label


@dataclass(frozen=True, slots=True)
class SlotView:
    """One slot of a device: what it should run beside what it runs.

    Attributes:
        channel: The channel, or ``local/NAME``.
        desired: ``NAME@VERSION`` that it should run; with adapters ``NAME@VERSION+NAME@VERSION``.
        attempt: The attempt that is asked for.
        rollout: The rollout that asked.
        state: Where the update stands, by the device's report.
        about: ``NAME@VERSION`` that the state is about.
        reported_attempt: The attempt that the state is about.
        active: ``NAME@VERSION`` that serves.
        active_signed: Whether the fleet signed what serves.
        bytes_done: Verified bytes of the download.
        bytes_total: Its length.
        bytes_fetched: Bytes of the model that came over the network, whole or as a delta.
        bytes_metadata: Bytes of metadata and manifests that came over it for this, beside them.
        bytes_per_s: How fast they came at the report.
        source: From where, such as ``http`` or ``mqtt``.
        waits_until: When it is gone on with, Unix seconds by the device's time; ``reason`` says why it waits.
        reason_code: Why it was refused or rolled back, or what it waits for.
        reason: The same for people.
        figures: Measured in the trial.
    """

    channel: str
    desired: str | None = None
    attempt: int | None = None
    rollout: str | None = None
    state: str | None = None
    about: str | None = None
    reported_attempt: int | None = None
    active: str | None = None
    active_signed: bool | None = None
    bytes_done: int = 0
    bytes_total: int = 0
    bytes_fetched: int = 0
    bytes_metadata: int = 0
    bytes_per_s: int = 0
    source: str | None = None
    waits_until: int | None = None
    reason_code: str | None = None
    reason: str | None = None
    figures: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device for people and programs; ``reported`` is its newest report as it stands."""

    id: str
    labels: dict[str, str]
    presence: Presence
    last_seen_at: datetime | None
    enrolled_at: datetime
    revoked_at: datetime | None
    reported_at: datetime | None
    hostname: str
    arch: str
    agent_version: str | None
    desired_generation: str | None
    reported_generation: str | None
    in_sync: bool
    slots: list[SlotView]
    unsigned: list[str]
    inventory: dict[str, Any]
    reported: dict[str, Any] | None


class Devices:
    """The enrolled devices."""

    def __init__(
        self, database: Database, clock: Clock, *, sees_presence: Callable[[], bool] = lambda: True
    ) -> None:
        """Set up.

        Args:
            database: Where they are stored.
            clock: Time.
            sees_presence: Whether the broker is in reach; without it nobody is known to be online.
        """
        self._database = database
        self._clock = clock
        self._sees_presence = sees_presence

    async def list(self, selector: str = "", *, include_revoked: bool = False) -> list[DeviceView]:
        """Devices whose labels match, by id.

        Raises:
            NameSyntaxError: The selector is malformed.
        """
        wanted = Selector.parse(selector)
        query = select(DeviceRow).order_by(DeviceRow.id)
        if not include_revoked:
            query = query.where(DeviceRow.revoked_at.is_(None))
        async with self._database.session() as session:
            rows = (await session.scalars(query)).all()
        return [_view(row, online=self._is_online(row)) for row in rows if wanted.matches(row.labels)]

    async def show(self, device: str) -> DeviceView:
        """One device.

        Raises:
            NotFoundError: There is no such device.
        """
        async with self._database.session() as session:
            row = await session.get(DeviceRow, device)
            if row is None:
                raise await _unknown(session, device)
        return _view(row, online=self._is_online(row))

    def _is_online(self, row: DeviceRow) -> bool:
        return row.online and self._sees_presence()

    async def label(
        self, device: str, *, add: Mapping[str, str], remove: Collection[str], actor: str
    ) -> dict[str, str]:
        """Set and remove labels; whoever calls this has the desired state refreshed.

        Returns:
            The labels after it.

        Raises:
            NotFoundError: There is no such device.
            NameSyntaxError: A label is malformed.
            UsageError: Too many labels.
        """
        for key, value in add.items():
            check_label(key, value)
        async with self._database.transaction() as session:
            row = await session.get(DeviceRow, device)
            if row is None:
                raise await _unknown(session, device)
            labels = {key: value for key, value in row.labels.items() if key not in remove} | dict(add)
            if len(labels) > DEFAULT_LIMITS.max_labels:
                raise UsageError(
                    f"{device} would have {len(labels)} labels; {DEFAULT_LIMITS.max_labels} may be set"
                )
            await session.execute(update(DeviceRow).where(DeviceRow.id == device).values(labels=labels))
            note(
                session,
                at=self._clock(),
                actor=actor,
                action="device_labelled",
                subject=device,
                add=dict(add),
                remove=sorted(remove),
            )
        return labels


async def _unknown(session: Any, device: str) -> NotFoundError:
    ids: Sequence[str] = (await session.scalars(select(DeviceRow.id).order_by(DeviceRow.id).limit(5))).all()
    known = f"such as {', '.join(ids)}" if ids else "and none is enrolled yet"
    return NotFoundError(f"there is no device {device!r}: 'skerry device list' shows them, {known}")


def _view(row: DeviceRow, *, online: bool) -> DeviceView:
    report = None if row.reported is None else msgspec.convert(row.reported, ReportedState)
    desired = None if row.desired_envelope is None else decode_desired(parse(row.desired_envelope).payload)
    mark = None if report is None else report.desired
    return DeviceView(
        id=row.id,
        labels=row.labels,
        presence=presence(online=online, last_seen_at=row.last_seen_at),
        last_seen_at=row.last_seen_at,
        enrolled_at=row.enrolled_at,
        revoked_at=row.revoked_at,
        reported_at=row.reported_at,
        hostname=str(row.inventory.get("hostname", "")),
        arch=str(row.inventory.get("arch", "")),
        agent_version=None if report is None else report.agent_version,
        desired_generation=None
        if desired is None
        else str(Generation(epoch=row.desired_epoch, number=row.desired_number)),
        reported_generation=None if mark is None else str(mark.generation),
        in_sync=desired is None or (mark is not None and mark.sha256 == row.desired_sha256),
        slots=_slots(desired, report),
        unsigned=[] if report is None else list(report.unsigned),
        inventory=row.inventory,
        reported=row.reported,
    )


def _slots(desired: DesiredState | None, report: ReportedState | None) -> list[SlotView]:
    wanted = {} if desired is None else desired.slots
    seen = {} if report is None else report.slots
    views = []
    for channel in sorted({*wanted, *seen}):
        slot = wanted.get(channel)
        view: dict[str, Any] = {
            "channel": channel,
            "desired": None
            if slot is None
            else "+".join(_ref(target.path) for target in (slot.target, *slot.adapters)),
            "attempt": None if slot is None else slot.attempt,
            "rollout": None if slot is None else slot.rollout,
        }
        views.append(SlotView(**view, **_reported_part(seen.get(channel))))
    return views


def _reported_part(slot: SlotReport | None) -> dict[str, Any]:
    if slot is None:
        return {}
    return {
        "state": slot.state,
        "about": None if slot.target_path is None else _ref(slot.target_path),
        "reported_attempt": slot.attempt,
        "active": None if slot.active is None else slot.active.text,
        "active_signed": None if slot.active is None else slot.active.signed,
        "bytes_done": slot.bytes_done,
        "bytes_total": slot.bytes_total,
        "bytes_fetched": slot.bytes_fetched,
        "bytes_metadata": slot.bytes_metadata,
        "bytes_per_s": slot.bytes_per_s,
        "source": slot.source,
        "waits_until": slot.waits_until,
        "reason_code": None if slot.reason is None else slot.reason.code,
        "reason": None if slot.reason is None else slot.reason.message,
        "figures": slot.figures,
    }


def _ref(path: str) -> str:
    try:
        return str(parse_target_path(path)[1])
    except ValueError:
        return path

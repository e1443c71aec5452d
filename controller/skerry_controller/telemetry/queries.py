from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.database import AuditRow, Database, DeviceRow, GoneRangeRow, RecordRow
from skerry_controller.errors import NotFoundError
from skerry_controller.fleet.refusals import ACTION as MESSAGE_REFUSED
from skerry_controller.telemetry.ingest import TelemetryIngest


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric; ``at_ms`` by the device's trusted time, Unix milliseconds."""

    at_ms: int
    value: float | None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Something that happened: told by the device, or seen at the controller.

    Attributes:
        at_ms: Unix milliseconds.
        source: ``device`` or ``controller``.
        kind: ``event`` or ``audit``.
        name: The event's name.
        data: Its fields; ``code`` and ``message`` when something was refused.
    """

    at_ms: int
    source: str
    kind: str
    name: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """How many records of a device are stored, and how many are lost.

    Attributes:
        samples: Stored samples.
        events: Stored events.
        audits: Stored audit records.
        streams: Boots that they come from.
        gone: Records that the device says it had to drop, and that never arrived.
        duplicates: Records that came more than once since the controller started; stored once.
    """

    samples: int
    events: int
    audits: int
    streams: int
    gone: int
    duplicates: int


class Telemetry:
    """Reads what devices sent."""

    def __init__(self, database: Database, ingest: TelemetryIngest) -> None:
        self._database = database
        self._ingest = ingest

    async def metric(self, device: str, metric: str, *, since: datetime, limit: int) -> list[Point]:
        """Values of one metric, oldest first; the newest ``limit`` of them.

        Raises:
            NotFoundError: There is no such device, or its newest sample has no such metric.
        """
        value = RecordRow.data[metric]
        query = (
            select(RecordRow.at_ms, value)
            .where(RecordRow.device_id == device, RecordRow.kind == "sample")
            .where(RecordRow.at_ms >= _ms(since), value.as_string().is_not(None))
            .order_by(RecordRow.at_ms.desc(), RecordRow.stream, RecordRow.sequence.desc())
            .limit(limit)
        )
        async with self._database.session() as session:
            await _check_device(session, device)
            points = [Point(at_ms, _number(found)) for at_ms, found in await session.execute(query)]
            if not points:
                await self._check_metric(session, device, metric)
        return points[::-1]

    async def log(self, device: str, *, since: datetime, limit: int) -> list[LogEntry]:
        """What happened on and around a device, oldest first; the newest ``limit`` entries.

        Raises:
            NotFoundError: There is no such device.
        """
        told = (
            select(RecordRow.at_ms, RecordRow.kind, RecordRow.name, RecordRow.data)
            .where(RecordRow.device_id == device, RecordRow.kind != "sample")
            .where(RecordRow.at_ms >= _ms(since))
            .order_by(RecordRow.at_ms.desc(), RecordRow.stream, RecordRow.sequence.desc())
            .limit(limit)
        )
        refused = (
            select(AuditRow.at, AuditRow.action, AuditRow.detail)
            .where(AuditRow.subject == device, AuditRow.action == MESSAGE_REFUSED, AuditRow.at >= since)
            .order_by(AuditRow.id.desc())
            .limit(limit)
        )
        async with self._database.session() as session:
            await _check_device(session, device)
            entries = [LogEntry(at_ms, "device", *rest) for at_ms, *rest in await session.execute(told)]
            entries += [
                LogEntry(_ms(at), "controller", "audit", action, detail)
                for at, action, detail in await session.execute(refused)
            ]
        return sorted(entries, key=lambda entry: entry.at_ms)[-limit:]

    async def counts(self, device: str) -> RecordCounts:
        """How much of a device is stored.

        Raises:
            NotFoundError: There is no such device.
        """
        kinds = (
            select(RecordRow.kind, func.count()).where(RecordRow.device_id == device).group_by(RecordRow.kind)
        )
        streams = select(func.count(RecordRow.stream.distinct())).where(RecordRow.device_id == device)
        async with self._database.session() as session:
            await _check_device(session, device)
            by_kind: dict[str, int] = {kind: count for kind, count in await session.execute(kinds)}  # noqa: C416 - rows are no pairs to mypy
            stream_count = await session.scalar(streams) or 0
            gone = await _count_gone(session, device)
        return RecordCounts(
            samples=by_kind.get("sample", 0),
            events=by_kind.get("event", 0),
            audits=by_kind.get("audit", 0),
            streams=stream_count,
            gone=gone,
            duplicates=self._ingest.duplicates[device],
        )

    async def _check_metric(self, session: AsyncSession, device: str, metric: str) -> None:
        newest = await session.scalar(
            select(RecordRow.data)
            .where(RecordRow.device_id == device, RecordRow.kind == "sample")
            .order_by(RecordRow.at_ms.desc())
            .limit(1)
        )
        if newest is not None and metric not in newest:
            raise NotFoundError(f"{device} sends no metric {metric!r}: it sends {', '.join(sorted(newest))}")


async def _check_device(session: AsyncSession, device: str) -> None:
    if await session.scalar(select(DeviceRow.id).where(DeviceRow.id == device)) is None:
        raise NotFoundError(f"there is no device {device!r}: 'skerry device list' shows them")


async def _count_gone(session: AsyncSession, device: str) -> int:
    told = select(func.sum(GoneRangeRow.last - GoneRangeRow.first + 1)).where(
        GoneRangeRow.device_id == device
    )
    arrived = (
        select(func.count())
        .select_from(GoneRangeRow)
        .join(
            RecordRow,
            (RecordRow.device_id == GoneRangeRow.device_id)
            & (RecordRow.stream == GoneRangeRow.stream)
            & RecordRow.sequence.between(GoneRangeRow.first, GoneRangeRow.last),
        )
        .where(GoneRangeRow.device_id == device)
    )
    return (await session.scalar(told) or 0) - (await session.scalar(arrived) or 0)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None

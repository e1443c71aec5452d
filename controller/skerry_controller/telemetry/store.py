"""Stores record batches: each record once, what is gone counted, all in one transaction."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.database import Database, DeviceRow, GoneRangeRow, RecordRow
from skerry_protocol import ranges
from skerry_protocol.errors import MalformedError
from skerry_protocol.ranges import Range
from skerry_protocol.records import Record, RecordBatch

_MAX_INTEGER = 2**62
_MAX_NAME_CHARACTERS = 128
_RECEIVE_LIMIT_RANGES = 10_000
MAX_STREAM_RANGES = 300_000
"""Gone ranges of one stream; an outbox of the usual size makes a third of that at most."""
_MAX_PARAMETERS = 500


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What became of a batch.

    Attributes:
        stored: Records that are new.
        duplicates: Records that were there before.
        acknowledged: Everything of the batch that is now durable or counted as gone.
    """

    stored: int
    duplicates: int
    acknowledged: list[Range]


async def store_batch(
    database: Database, batch: RecordBatch, received_at: datetime, *, seen: bool = True
) -> StoredBatch:
    """Store a verified batch; it is committed when this returns.

    Args:
        database: Where.
        batch: What.
        received_at: Now.
        seen: Whether the device itself was heard now, rather than a stick that it wrote.

    Raises:
        MalformedError: A number or name is beyond what can be stored.
    """
    _check(batch)
    # A sequence that a batch gives twice is one record; the first one counts.
    by_sequence: dict[int, Record] = {}
    for record in batch.records:
        by_sequence.setdefault(record.sequence, record)
    async with database.transaction() as session:
        known = await known_sequences(session, batch, by_sequence)
        new = [record for sequence, record in by_sequence.items() if sequence not in known]
        if new:
            await session.execute(
                _insert_or_ignore(session), [_row(batch, record, received_at) for record in new]
            )
        if batch.gone:
            await _add_gone(session, batch)
        if seen:
            await session.execute(
                update(DeviceRow).where(DeviceRow.id == batch.device).values(last_seen_at=received_at)
            )
    acknowledged = ranges.union(ranges.from_numbers(by_sequence), batch.gone)
    return StoredBatch(len(new), len(batch.records) - len(new), acknowledged)


def _check(batch: RecordBatch) -> None:
    for record in batch.records:
        if record.sequence > _MAX_INTEGER or abs(record.at_ms) > _MAX_INTEGER:
            raise MalformedError(f"record batch: record {record.sequence} has a number out of range")
        if len(record.name) > _MAX_NAME_CHARACTERS:
            raise MalformedError(f"record batch: record {record.sequence} has an overlong name")
    if batch.gone and batch.gone[-1][1] > _MAX_INTEGER:
        raise MalformedError("record batch: a gone range is out of range")
    if len(batch.gone) > _RECEIVE_LIMIT_RANGES:
        raise MalformedError(f"record batch: {len(batch.gone)} gone ranges")


async def stored_ranges(
    database: Database, device: str, *, max_streams: int, max_ranges: int
) -> dict[str, list[Range]]:
    """Stream -> what is stored or counted as gone of a device, for its latest streams.

    Args:
        database: Where.
        device: Whose.
        max_streams: The streams that received something last.
        max_ranges: In all; what is beyond is told another time.
    """
    query = _runs(device, max_streams).limit(max_ranges)
    found: dict[str, list[Range]] = {}
    async with database.session() as session:
        for stream, first, last in await session.execute(query):
            found.setdefault(stream, []).append((first, last))
        gone = select(GoneRangeRow.stream, GoneRangeRow.first, GoneRangeRow.last).where(
            GoneRangeRow.device_id == device, GoneRangeRow.stream.in_(list(found))
        )
        for stream, first, last in await session.execute(gone.limit(max_ranges)):
            found[stream].append((first, last))
    return {stream: ranges.union(parts) for stream, parts in found.items()}


def _runs(device: str, max_streams: int) -> Select[Any]:
    """Runs of sequence numbers without a gap: stream, first, last."""
    mine = RecordRow.device_id == device
    latest = (
        select(RecordRow.stream)
        .where(mine)
        .group_by(RecordRow.stream)
        .order_by(func.max(RecordRow.received_at).desc(), RecordRow.stream)
        .limit(max_streams)
    )
    # Numbers without a gap differ from their rank by the same amount.
    rank = func.row_number().over(partition_by=RecordRow.stream, order_by=RecordRow.sequence)
    runs = (
        select(RecordRow.stream, RecordRow.sequence, (RecordRow.sequence - rank).label("run"))
        .where(mine, RecordRow.stream.in_(latest))
        .subquery()
    )
    return select(runs.c.stream, func.min(runs.c.sequence), func.max(runs.c.sequence)).group_by(
        runs.c.stream, runs.c.run
    )


async def known_sequences(
    session: AsyncSession, batch: RecordBatch, by_sequence: Mapping[int, Record]
) -> set[int]:
    """Which of the batch's own sequence numbers are stored already."""
    query = select(RecordRow.sequence).where(
        RecordRow.device_id == batch.device,
        RecordRow.stream == batch.stream,
        RecordRow.sequence.in_(list(by_sequence)),
    )
    return set(await session.scalars(query)) if by_sequence else set()


def _insert_or_ignore(session: AsyncSession) -> Any:
    # The lookup above is for counting; this holds when two replicas take the same batch at once.
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(RecordRow).on_conflict_do_nothing()


async def _add_gone(session: AsyncSession, batch: RecordBatch) -> None:
    mine = (GoneRangeRow.device_id == batch.device, GoneRangeRow.stream == batch.stream)
    count = await session.scalar(select(func.count()).select_from(GoneRangeRow).where(*mine)) or 0
    if count + len(batch.gone) > MAX_STREAM_RANGES:
        raise MalformedError(
            f"record batch: stream {batch.stream} has more than {MAX_STREAM_RANGES} gone ranges"
        )
    # Only those that may touch the batch's: others stay as they are.
    near = (GoneRangeRow.first <= batch.gone[-1][1] + 1, GoneRangeRow.last >= batch.gone[0][0] - 1)
    rows = await session.execute(select(GoneRangeRow.first, GoneRangeRow.last).where(*mine, *near))
    before = {(first, last) for first, last in rows}
    after = set(ranges.union(before, batch.gone))
    joined = [first for first, _ in before - after]
    for start in range(0, len(joined), _MAX_PARAMETERS):
        some = joined[start : start + _MAX_PARAMETERS]
        await session.execute(delete(GoneRangeRow).where(*mine, GoneRangeRow.first.in_(some)))
    session.add_all(
        GoneRangeRow(device_id=batch.device, stream=batch.stream, first=first, last=last)
        for first, last in sorted(after - before)
    )


def _row(batch: RecordBatch, record: Record, received_at: datetime) -> dict[str, object]:
    return {
        "device_id": batch.device,
        "stream": batch.stream,
        "sequence": record.sequence,
        "kind": record.kind,
        "name": record.name,
        "at_ms": record.at_ms,
        "data": {key: _storable(value) for key, value in record.data.items()},
        "received_at": received_at,
    }


def _storable(value: object) -> object:
    # JSON has no NaN; SQL databases refuse the whole document for one.
    return None if isinstance(value, float) and not math.isfinite(value) else value

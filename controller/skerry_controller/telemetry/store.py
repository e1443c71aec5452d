"""Stores record batches: each record once, what is gone counted, all in one transaction."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
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


async def store_batch(database: Database, batch: RecordBatch, received_at: datetime) -> StoredBatch:
    """Store a verified batch; it is committed when this returns.

    Raises:
        MalformedError: A number or name is beyond what can be stored.
    """
    _check(batch)
    # A sequence that a batch gives twice is one record; the first one counts.
    by_sequence: dict[int, Record] = {}
    for record in batch.records:
        by_sequence.setdefault(record.sequence, record)
    async with database.transaction() as session:
        known = await _known(session, batch, by_sequence)
        new = [record for sequence, record in by_sequence.items() if sequence not in known]
        if new:
            await session.execute(
                _insert_or_ignore(session), [_row(batch, record, received_at) for record in new]
            )
        if batch.gone:
            await _add_gone(session, batch)
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


async def _known(session: AsyncSession, batch: RecordBatch, by_sequence: Mapping[int, Record]) -> set[int]:
    if not by_sequence:
        return set()
    query = select(RecordRow.sequence).where(
        RecordRow.device_id == batch.device,
        RecordRow.stream == batch.stream,
        RecordRow.sequence.between(min(by_sequence), max(by_sequence)),
    )
    return set(await session.scalars(query))


def _insert_or_ignore(session: AsyncSession) -> Any:
    # The lookup above is for counting; this holds when two replicas take the same batch at once.
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(RecordRow).on_conflict_do_nothing()


async def _add_gone(session: AsyncSession, batch: RecordBatch) -> None:
    mine = (GoneRangeRow.device_id == batch.device, GoneRangeRow.stream == batch.stream)
    rows = await session.execute(select(GoneRangeRow.first, GoneRangeRow.last).where(*mine))
    before = sorted((first, last) for first, last in rows)
    after = ranges.union(before, batch.gone)
    if after == before:
        return
    await session.execute(delete(GoneRangeRow).where(*mine))
    session.add_all(
        GoneRangeRow(device_id=batch.device, stream=batch.stream, first=first, last=last)
        for first, last in after
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

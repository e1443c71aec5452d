"""What is done to the tables of the outbox: functions of a connection, each inside one transaction."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, get_args

import msgspec

from skerry_agent.outbox.batch import InFlight, PendingBatch, StreamClass
from skerry_agent.outbox.gaps import subtract
from skerry_agent.outbox.limits import OutboxLimits
from skerry_agent.outbox.thinning import drop, make_room
from skerry_protocol.ranges import Range
from skerry_protocol.records import Record, RecordKind, Value

ROW_OVERHEAD_BYTES = 32
"""What a row costs beside its name and data, roughly, on the disk and on the wire."""
GONE_RANGE_BYTES = 12
"""An upper estimate of one gone range on the wire."""
_KINDS: tuple[RecordKind, ...] = get_args(RecordKind)
_ONE_STREAM_CLASS: dict[RecordKind, StreamClass] = {"sample": "samples", "event": "events", "audit": "events"}


class Draft(NamedTuple):
    """A record that has no sequence number yet."""

    at_ms: int
    kind: RecordKind
    name: str
    data: dict[str, Value]


class LoggedEvent(NamedTuple):
    """An event or audit record of the local log; ``at_ms`` is trusted time in Unix milliseconds."""

    at_ms: int
    kind: RecordKind
    name: str
    data: dict[str, Value]


class OutboxStats(NamedTuple):
    """What the outbox holds.

    Attributes:
        pending: Kind -> records that are not acknowledged.
        pending_bytes: Their size as encoded.
        dropped: Kind -> records that were dropped because the outbox or the disk was full, ever.
        gone: Dropped records that the controller was not told of yet.
        oldest_at_ms: Time of the oldest pending record.
        buffered: Records that wait in memory for the next commit.
    """

    pending: dict[RecordKind, int]
    pending_bytes: int
    dropped: dict[RecordKind, int]
    gone: int
    oldest_at_ms: int | None
    buffered: int = 0


def append(
    connection: sqlite3.Connection,
    drafts: Sequence[Draft],
    streams: Mapping[StreamClass, str],
    limits: OutboxLimits,
    lost: Mapping[RecordKind, int],
) -> None:
    """Give drafts their numbers and store them; make room when that is too much.

    Args:
        connection: In a transaction.
        drafts: In order.
        streams: The stream ids of this boot.
        limits: Bounds.
        lost: Drafts that were dropped in memory since the last commit, to count.
    """
    for stream_class, stream_id in streams.items():
        own = [draft for draft in drafts if _ONE_STREAM_CLASS[draft.kind] == stream_class]
        if own:
            _append_to(connection, own, stream_id, stream_class)
    _log(connection, [draft for draft in drafts if draft.kind != "sample"], limits.keep_events)
    for kind, dropped in lost.items():
        connection.execute("UPDATE totals SET dropped = dropped + ? WHERE kind = ?", (dropped, kind))
    make_room(connection, limits)


def _append_to(
    connection: sqlite3.Connection, drafts: Sequence[Draft], stream_id: str, stream_class: StreamClass
) -> None:
    connection.execute(
        "INSERT INTO streams (id, class) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", (stream_id, stream_class)
    )
    number, following = connection.execute(
        "UPDATE streams SET next_sequence = next_sequence + ? WHERE id = ? RETURNING number, next_sequence",
        (len(drafts), stream_id),
    ).fetchone()
    rows = []
    for sequence, draft in enumerate(drafts, start=following - len(drafts)):
        data = msgspec.msgpack.encode(draft.data)
        size = len(data) + len(draft.name) + ROW_OVERHEAD_BYTES
        rows.append((number, sequence, draft.at_ms, draft.kind, draft.name, data, size))
    connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _log(connection: sqlite3.Connection, drafts: Sequence[Draft], keep: int) -> None:
    if not drafts:
        return
    connection.executemany(
        "INSERT INTO recent (at_ms, kind, name, data) VALUES (?, ?, ?, ?)",
        [(draft.at_ms, draft.kind, draft.name, msgspec.msgpack.encode(draft.data)) for draft in drafts],
    )
    connection.execute("DELETE FROM recent WHERE number <= (SELECT max(number) FROM recent) - ?", (keep,))


def recent(connection: sqlite3.Connection, limit: int) -> list[LoggedEvent]:
    """The last events and audit records, oldest first."""
    rows = connection.execute(
        "SELECT at_ms, kind, name, data FROM recent ORDER BY number DESC LIMIT ?", (limit,)
    ).fetchall()
    return [LoggedEvent(row[0], row[1], row[2], _values(row[3])) for row in reversed(rows)]


def pending(
    connection: sqlite3.Connection, *, max_bytes: int, max_records: int, max_batches: int, in_flight: InFlight
) -> list[PendingBatch]:
    """Batches of what is not acknowledged and not in flight: events before samples, old streams first."""
    batches: list[PendingBatch] = []
    taken = {stream: list(ranges) for stream, ranges in in_flight.items()}
    for number, stream_id, stream_class in connection.execute(
        "SELECT number, id, class FROM streams ORDER BY class = 'samples', number"
    ).fetchall():
        while len(batches) < max_batches:
            skip = taken.get(stream_id, [])
            gone = _gone(connection, number, skip, max_bytes // 2 // GONE_RANGE_BYTES)
            room = max_bytes - len(gone) * GONE_RANGE_BYTES
            records = _records(connection, number, skip, room, max_records)
            if not gone and not records:
                break
            batch = PendingBatch(stream_id, stream_class, tuple(records), tuple(gone))
            batches.append(batch)
            taken[stream_id] = sorted([*skip, *batch.covers])
    return batches


def _gone(connection: sqlite3.Connection, stream: int, skip: Sequence[Range], most: int) -> list[Range]:
    rows = connection.execute("SELECT first, last FROM gone WHERE stream = ? ORDER BY first", (stream,))
    left = subtract(((row[0], row[1]) for row in rows), skip)
    return left[: max(most, 1)]


def _records(
    connection: sqlite3.Connection, stream: int, skip: Sequence[Range], max_bytes: int, max_records: int
) -> list[Record]:
    free = subtract([(0, 2**63 - 1)], skip)
    records: list[Record] = []
    size = 0
    for first, last in free:
        for row in connection.execute(
            "SELECT sequence, at_ms, kind, name, data, bytes FROM records"
            " WHERE stream = ? AND sequence BETWEEN ? AND ? ORDER BY sequence LIMIT ?",
            (stream, first, last, max_records - len(records)),
        ):
            size += row[5]
            if records and size > max_bytes:
                return records
            records.append(Record(row[0], row[1], row[2], row[3], _values(row[4])))
        if len(records) >= max_records:
            break
    return records


def acknowledge(
    connection: sqlite3.Connection, streams: Mapping[str, Iterable[Range]], current: Iterable[str]
) -> int:
    """Forget what the controller has stored; returns how many records that were."""
    removed = 0
    for stream_id, stored in streams.items():
        row = connection.execute("SELECT number FROM streams WHERE id = ?", (stream_id,)).fetchone()
        if row is None:
            continue
        number, stored_ranges = row[0], [(first, min(last, 2**63 - 1)) for first, last in stored]
        for first, last in stored_ranges:
            if first < 2**63:
                removed += connection.execute(
                    "DELETE FROM records WHERE stream = ? AND sequence BETWEEN ? AND ?", (number, first, last)
                ).rowcount
        known = connection.execute("SELECT first, last FROM gone WHERE stream = ? ORDER BY first", (number,))
        left = subtract([(gone[0], gone[1]) for gone in known], stored_ranges)
        connection.execute("DELETE FROM gone WHERE stream = ?", (number,))
        connection.executemany("INSERT INTO gone VALUES (?, ?, ?)", [(number, *gap) for gap in left])
    kept = list(current)
    connection.execute(
        "DELETE FROM streams WHERE id NOT IN (" + ", ".join("?" * len(kept)) + ")"  # noqa: S608 - only question marks
        " AND NOT EXISTS (SELECT 1 FROM records WHERE stream = number)"
        " AND NOT EXISTS (SELECT 1 FROM gone WHERE stream = number)",
        kept,
    )
    return removed


def give_up(connection: sqlite3.Connection, stream_id: str, sequence: int) -> None:
    """Drop one record as if the outbox were full."""
    row = connection.execute(
        "SELECT stream, kind FROM records JOIN streams ON stream = number WHERE id = ? AND sequence = ?",
        (stream_id, sequence),
    ).fetchone()
    if row is not None:
        drop(connection, row[1], [(row[0], sequence)])


def stats(connection: sqlite3.Connection) -> OutboxStats:
    """What the tables hold."""
    totals = {row[0]: row[1:] for row in connection.execute("SELECT kind, rows, bytes, dropped FROM totals")}
    gone = connection.execute("SELECT coalesce(sum(last - first + 1), 0) FROM gone").fetchone()[0]
    oldest = connection.execute(
        "SELECT min((SELECT at_ms FROM records WHERE stream = number ORDER BY sequence LIMIT 1)) FROM streams"
    ).fetchone()[0]
    return OutboxStats(
        pending={kind: totals[kind][0] for kind in _KINDS},
        pending_bytes=sum(totals[kind][1] for kind in _KINDS),
        dropped={kind: totals[kind][2] for kind in _KINDS},
        gone=gone,
        oldest_at_ms=oldest,
    )


def remember_once(connection: sqlite3.Connection, key: str, expires_at: int, now: int, most: int) -> bool:
    """Store a key until it expires; whether it was new.

    Whoever stole the director's key could send commands without end that expire in a thousand years. So
    there are bounds, and what ends last is forgotten first: a genuine command ends soon.
    """
    connection.execute("DELETE FROM once WHERE expires_at < ?", (now,))
    cursor = connection.execute("INSERT INTO once VALUES (?, ?) ON CONFLICT DO NOTHING", (key, expires_at))
    was_new = cursor.rowcount == 1
    if was_new:
        over: int = connection.execute("SELECT count(*) FROM once").fetchone()[0] - most
        connection.execute(
            "DELETE FROM once WHERE key IN (SELECT key FROM once ORDER BY expires_at DESC LIMIT ?)",
            (max(0, over),),
        )
    return was_new


def _values(data: bytes) -> dict[str, Value]:
    return msgspec.msgpack.decode(data, type=dict[str, Value])

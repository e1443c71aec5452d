"""Making room in a full outbox: old samples are thinned first, then events go, audit records last."""

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from skerry_agent.outbox.limits import OutboxLimits
from skerry_protocol import ranges
from skerry_protocol.ranges import Range
from skerry_protocol.records import RecordKind

SLICE_ROWS = 1000
"""Rows handled at once, so that the memory needed does not grow with the outbox."""
FEWEST_TO_THIN = 8
"""With fewer samples than this, thinning turns into dropping the oldest."""
DROPPED_SHARE = 20
"""A twentieth of a kind is dropped at a time, so that a full outbox does not make room at every record."""


class _Key(NamedTuple):
    stream: int
    sequence: int


def make_room(connection: sqlite3.Connection, limits: OutboxLimits) -> None:
    """Drop records until the outbox is within its bounds; counts them and remembers the gaps."""
    while _is_over(connection, limits) and _rows(connection, "sample") >= FEWEST_TO_THIN:
        _thin_samples(connection)
    for kind in ("sample", "event", "audit"):
        while _is_over(connection, limits) and (rows := _rows(connection, kind)):
            _drop_oldest(connection, kind, min(max(rows // DROPPED_SHARE, 1), SLICE_ROWS))


def _is_over(connection: sqlite3.Connection, limits: OutboxLimits) -> bool:
    rows, size = connection.execute("SELECT sum(rows), sum(bytes) FROM totals").fetchone()
    return bool(rows > limits.max_rows or size > limits.max_bytes)


def _rows(connection: sqlite3.Connection, kind: RecordKind) -> int:
    rows: int = connection.execute("SELECT rows FROM totals WHERE kind = ?", (kind,)).fetchone()[0]
    return rows


def _thin_samples(connection: sqlite3.Connection) -> None:
    left = _rows(connection, "sample") // 2
    position = _Key(-1, -1)
    while left > 0:
        keys = _oldest(connection, "sample", position, min(left, SLICE_ROWS))
        if not keys:
            return
        position = keys[-1]
        left -= len(keys)
        drop(connection, "sample", keys[1::2])


def _drop_oldest(connection: sqlite3.Connection, kind: RecordKind, count: int) -> None:
    drop(connection, kind, _oldest(connection, kind, _Key(-1, -1), count))


def _oldest(connection: sqlite3.Connection, kind: RecordKind, after: _Key, count: int) -> list[_Key]:
    rows = connection.execute(
        "SELECT stream, sequence FROM records WHERE kind = ? AND (stream, sequence) > (?, ?)"
        " ORDER BY stream, sequence LIMIT ?",
        (kind, *after, count),
    )
    return [_Key(row[0], row[1]) for row in rows]


def drop(connection: sqlite3.Connection, kind: RecordKind, keys: Sequence[tuple[int, int]]) -> None:
    """Drop records of one kind by (stream, sequence), in that order; count them and remember the gaps."""
    connection.executemany("DELETE FROM records WHERE stream = ? AND sequence = ?", keys)
    connection.execute("UPDATE totals SET dropped = dropped + ? WHERE kind = ?", (len(keys), kind))
    for stream, own in groupby(keys, key=lambda key: key[0]):
        _mark_gone(connection, stream, ranges.from_numbers(sequence for _, sequence in own))


def _mark_gone(connection: sqlite3.Connection, stream: int, gaps: Sequence[Range]) -> None:
    """Add gaps to a stream's gone ranges and join those that touch."""
    first, last = gaps[0][0] - 1, gaps[-1][1] + 1
    near = "stream = ? AND first <= ? AND last >= ?"
    known = connection.execute(
        f"SELECT first, last FROM gone WHERE {near}",  # noqa: S608 - a constant
        (stream, last, first),
    ).fetchall()
    joined = ranges.union(((row[0], row[1]) for row in known), gaps)
    connection.execute(f"DELETE FROM gone WHERE {near}", (stream, last, first))  # noqa: S608 - a constant
    connection.executemany("INSERT INTO gone VALUES (?, ?, ?)", [(stream, *gap) for gap in joined])

"""updates.db: the desired state, where each slot stands, and what was rolled back."""

from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple, Self

import msgspec

from skerry_agent.database import Database
from skerry_agent.updates.record import SlotRecord
from skerry_protocol.desired import DesiredState
from skerry_protocol.generation import GenerationMark
from skerry_protocol.reported import Reason

_KEPT_VERDICTS = 200

MIGRATIONS = (
    (
        """CREATE TABLE desired (
            id INTEGER PRIMARY KEY CHECK (id = 1), mark TEXT NOT NULL, state TEXT NOT NULL
        ) STRICT""",
        "CREATE TABLE slots (name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT",
        "CREATE TABLE manifests (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT, WITHOUT ROWID",
        """CREATE TABLE verdicts (
            id INTEGER PRIMARY KEY,
            slot TEXT NOT NULL,
            path TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            reason TEXT NOT NULL,
            UNIQUE (slot, path, sha256)
        ) STRICT""",
    ),
)


class Stored(NamedTuple):
    """All that is stored, but for manifests."""

    desired: DesiredState | None
    mark: GenerationMark | None
    records: dict[str, SlotRecord]
    verdicts: dict[tuple[str, str, str], tuple[int, Reason]]
    """(slot, path, sha256) -> the highest attempt that was rolled back, and why."""


class UpdateStore:
    """Reads and writes updates.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or create the file.

        Raises:
            DatabaseError: It cannot be used.
        """
        return cls(await Database.open(path, MIGRATIONS))

    async def close(self) -> None:
        """Close the file."""
        await self._database.close()

    async def load(self) -> Stored:
        """Everything, at start."""
        return await self._database.read(_load)

    async def put_desired(self, desired: DesiredState, mark: GenerationMark) -> None:
        """Replace the desired state."""
        texts = (msgspec.json.encode(mark).decode(), msgspec.json.encode(desired).decode())
        await self._database.write(
            lambda c: c.execute("INSERT OR REPLACE INTO desired (id, mark, state) VALUES (1, ?, ?)", texts)
        )

    async def put_record(
        self,
        record: SlotRecord,
        *,
        verdict: Reason | None = None,
        manifest: bytes | None = None,
        adapter_manifests: tuple[bytes, ...] = (),
    ) -> None:
        """Store where a slot stands.

        Args:
            record: The slot.
            verdict: Also remember that its target was rolled back in its attempt.
            manifest: Also keep the target's bytes.
            adapter_manifests: And those of its adapters.
        """

        def write(connection: Connection) -> None:
            _put_record(connection, record)
            if verdict is not None and record.target is not None:
                _put_verdict(connection, record, verdict)
            if manifest is not None and record.target is not None:
                targets = (record.target, *record.adapters)
                rows = zip((target.sha256 for target in targets), (manifest, *adapter_manifests), strict=True)
                connection.executemany("INSERT OR REPLACE INTO manifests VALUES (?, ?)", rows)
            _drop_manifests(connection)

        await self._database.write(write)

    async def manifest(self, sha256: str) -> bytes | None:
        """The bytes of a target that a slot is about."""

        def read(connection: Connection) -> bytes | None:
            row = connection.execute("SELECT data FROM manifests WHERE sha256 = ?", (sha256,)).fetchone()
            return None if row is None else bytes(row["data"])

        return await self._database.read(read)


def _load(connection: Connection) -> Stored:
    row = connection.execute("SELECT * FROM desired").fetchone()
    desired = None if row is None else msgspec.json.decode(row["state"], type=DesiredState)
    mark = None if row is None else msgspec.json.decode(row["mark"], type=GenerationMark)
    records = (
        msgspec.json.decode(row["record"], type=SlotRecord)
        for row in connection.execute("SELECT record FROM slots ORDER BY name")
    )
    verdicts = {
        (row["slot"], row["path"], row["sha256"]): (
            row["attempt"],
            msgspec.json.decode(row["reason"], type=Reason),
        )
        for row in connection.execute("SELECT * FROM verdicts")
    }
    return Stored(desired, mark, {record.slot: record for record in records}, verdicts)


def _put_record(connection: Connection, record: SlotRecord) -> None:
    text = msgspec.json.encode(record).decode()
    connection.execute("INSERT OR REPLACE INTO slots (name, record) VALUES (?, ?)", (record.slot, text))


def _put_verdict(connection: Connection, record: SlotRecord, reason: Reason) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO verdicts (slot, path, sha256, attempt, reason) VALUES (?, ?, ?, ?, ?)",
        (*record.verdict_key, record.attempt, msgspec.json.encode(reason).decode()),
    )
    connection.execute(
        "DELETE FROM verdicts WHERE id NOT IN (SELECT id FROM verdicts ORDER BY id DESC LIMIT ?)",
        (_KEPT_VERDICTS,),
    )


def _drop_manifests(connection: Connection) -> None:
    """Forget manifests that no slot is about."""
    rows = connection.execute("SELECT record FROM slots")
    records = [msgspec.json.decode(row["record"], type=SlotRecord) for row in rows]
    kept = {
        target.sha256
        for record in records
        if record.target is not None and record.in_flight
        for target in (record.target, *record.adapters)
    }
    for row in connection.execute("SELECT sha256 FROM manifests").fetchall():
        if row["sha256"] not in kept:
            connection.execute("DELETE FROM manifests WHERE sha256 = ?", (row["sha256"],))

"""The catalog's tables and queries: plain functions of a connection, run by the database's threads."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from sqlite3 import Connection, Row
from typing import NamedTuple

import msgspec

from skerry_agent.registry.artifact import InstalledArtifact, NewArtifact, Slot
from skerry_protocol.manifest import Acceptance, Chunk
from skerry_protocol.records import Value

_QUERY_BATCH = 500

MIGRATIONS = (
    (
        # A broken artifact's file is missing or has another length.
        """CREATE TABLE artifacts (
            id INTEGER PRIMARY KEY,
            ref TEXT NOT NULL,
            kind TEXT NOT NULL,
            signed INTEGER NOT NULL,
            file_sha256 TEXT NOT NULL,
            length INTEGER NOT NULL,
            target_path TEXT,
            target_sha256 TEXT,
            description TEXT NOT NULL,
            license TEXT,
            acceptance TEXT NOT NULL,
            installed_at REAL NOT NULL,
            broken INTEGER NOT NULL DEFAULT 0
        ) STRICT""",
        "CREATE UNIQUE INDEX artifact_identity ON artifacts (ref, COALESCE(target_sha256, ''), file_sha256)",
        """CREATE TABLE slots (
            name TEXT PRIMARY KEY,
            active INTEGER REFERENCES artifacts (id),
            previous INTEGER REFERENCES artifacts (id),
            held TEXT,
            changed_at REAL NOT NULL
        ) STRICT""",
        """CREATE TABLE chunks (
            sha256 BLOB NOT NULL,
            file_sha256 TEXT NOT NULL,
            position INTEGER NOT NULL,
            length INTEGER NOT NULL,
            PRIMARY KEY (file_sha256, position)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX chunks_by_hash ON chunks (sha256)",
        """CREATE TABLE partials (
            sha256 TEXT PRIMARY KEY,
            length INTEGER NOT NULL,
            wanted INTEGER NOT NULL,
            used_at REAL NOT NULL
        ) STRICT""",
    ),
    (
        "ALTER TABLE artifacts ADD COLUMN base_sha256 TEXT",
        # Keys of artifacts as JSON lists, in the order in which the desired state names them.
        "ALTER TABLE slots ADD COLUMN adapters TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE slots ADD COLUMN previous_adapters TEXT NOT NULL DEFAULT '[]'",
    ),
)


class ChunkRow(NamedTuple):
    """Where a chunk is: the file's digest, offset and length in bytes; whether all of the file is here."""

    file_sha256: str
    offset: int
    length: int
    whole: bool


class KnownPartial(NamedTuple):
    """Whether a download is still wanted, and when it was last gone on with, Unix seconds."""

    wanted: bool
    used_at: float


class Catalog:
    """Queries; holds nothing but the function that gives a file's path."""

    def __init__(self, path_of: Callable[[str], Path]) -> None:
        self._path_of = path_of

    def artifacts(self, connection: Connection) -> list[InstalledArtifact]:
        """All artifacts, the latest first."""
        rows = connection.execute("SELECT * FROM artifacts ORDER BY installed_at DESC, id DESC")
        return [self._artifact(row) for row in rows]

    def slots(self, connection: Connection) -> dict[str, Slot]:
        """All slots by name."""
        by_id = {row["id"]: self._artifact(row) for row in connection.execute("SELECT * FROM artifacts")}
        rows = connection.execute("SELECT * FROM slots ORDER BY name")

        def listed(text: str) -> tuple[InstalledArtifact, ...]:
            return tuple(by_id[key] for key in msgspec.json.decode(text, type=list[int]))

        return {
            row["name"]: Slot(
                row["name"],
                by_id.get(row["active"]),
                by_id.get(row["previous"]),
                row["held"],
                listed(row["adapters"]),
                listed(row["previous_adapters"]),
            )
            for row in rows
        }

    def _artifact(self, row: Row) -> InstalledArtifact:
        sha256: str = row["file_sha256"]
        return InstalledArtifact(
            ref=row["ref"],
            kind=row["kind"],
            signed=bool(row["signed"]),
            file_sha256=sha256,
            length=row["length"],
            path=self._path_of(sha256),
            target_path=row["target_path"],
            target_sha256=row["target_sha256"],
            description=msgspec.json.decode(row["description"], type=dict[str, Value]),
            license=row["license"],
            acceptance=msgspec.json.decode(row["acceptance"], type=Acceptance),
            installed_at=row["installed_at"],
            broken=bool(row["broken"]),
            base_sha256=row["base_sha256"],
        )


def insert(connection: Connection, new: NewArtifact, now: float) -> None:
    """Add an artifact with its chunks; one that is there already is only marked whole."""
    connection.execute(
        """INSERT INTO artifacts (ref, kind, signed, file_sha256, length, target_path, target_sha256,
               description, license, acceptance, installed_at, base_sha256)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING""",
        (
            new.ref,
            new.kind,
            new.target_sha256 is not None,
            new.file_sha256,
            new.length,
            new.target_path,
            new.target_sha256,
            msgspec.json.encode(dict(new.description)).decode(),
            new.license,
            msgspec.json.encode(new.acceptance).decode(),
            now,
            new.base_sha256,
        ),
    )
    mark_broken(connection, new.file_sha256, broken=False)
    _insert_chunks(connection, new.file_sha256, new.chunks)


def _insert_chunks(connection: Connection, file_sha256: str, chunks: Iterable[tuple[int, int, str]]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO chunks (sha256, file_sha256, position, length) VALUES (?, ?, ?, ?)",
        ((bytes.fromhex(sha256), file_sha256, offset, length) for offset, length, sha256 in chunks),
    )


def mark_broken(connection: Connection, file_sha256: str, *, broken: bool) -> None:
    """Note that a file is missing, or whole again."""
    connection.execute("UPDATE artifacts SET broken = ? WHERE file_sha256 = ?", (broken, file_sha256))


def artifact_id(connection: Connection, artifact: InstalledArtifact) -> int:
    """The key of an artifact."""
    row = connection.execute(
        "SELECT id FROM artifacts WHERE ref = ? AND target_sha256 IS ? AND file_sha256 = ?",
        (artifact.ref, artifact.target_sha256, artifact.file_sha256),
    ).fetchone()
    if row is None:
        raise RuntimeError(f"{artifact.ref} was removed meanwhile")
    found: int = row["id"]
    return found


def set_slot(
    connection: Connection,
    slot: Slot,
    now: float,
) -> None:
    """Write what is active and previous in a slot."""
    for part in slot.serving.parts if slot.serving is not None else ():
        # It is protected by the slot from now on.
        delete_partial(connection, part.file_sha256)
    ids = [None if a is None else artifact_id(connection, a) for a in (slot.active, slot.previous)]
    lists = [
        msgspec.json.encode([artifact_id(connection, adapter) for adapter in adapters]).decode()
        for adapters in (slot.adapters, slot.previous_adapters)
    ]
    connection.execute(
        "INSERT OR REPLACE INTO slots (name, active, previous, held, changed_at, adapters, previous_adapters)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (slot.name, *ids, slot.held, now, *lists),
    )


def delete_slot(connection: Connection, name: str) -> None:
    """Forget a slot."""
    connection.execute("DELETE FROM slots WHERE name = ?", (name,))


def delete_artifact(connection: Connection, artifact: InstalledArtifact) -> None:
    """Forget an artifact, and its file's chunks when nothing else refers to the file."""
    connection.execute("DELETE FROM artifacts WHERE id = ?", (artifact_id(connection, artifact),))
    _delete_unused_chunks(connection)


def _delete_unused_chunks(connection: Connection) -> None:
    connection.execute(
        "DELETE FROM chunks WHERE file_sha256 NOT IN (SELECT file_sha256 FROM artifacts)"
        " AND file_sha256 NOT IN (SELECT sha256 FROM partials)"
    )


def pin(connection: Connection, sha256: str, length: int, now: float) -> None:
    """Note that a file is wanted: its download, and the file itself until it serves somewhere."""
    connection.execute(
        "INSERT OR REPLACE INTO partials (sha256, length, wanted, used_at) VALUES (?, ?, 1, ?)",
        (sha256, length, now),
    )


def index_download(connection: Connection, sha256: str, chunks: Sequence[Chunk]) -> None:
    """Note how a download is cut, so that what it has can serve others; the latest cut counts."""
    if chunks_of(connection, sha256) == list(chunks):
        return
    connection.execute(
        "DELETE FROM chunks WHERE file_sha256 = ?1 AND ?1 NOT IN (SELECT file_sha256 FROM artifacts)",
        (sha256,),
    )
    _insert_chunks(connection, sha256, ((chunk.offset, chunk.length, chunk.sha256) for chunk in chunks))


def chunks_of(connection: Connection, sha256: str) -> list[Chunk]:
    """How a file is cut, in the order of the file."""
    rows = connection.execute(
        "SELECT position, length, sha256 FROM chunks WHERE file_sha256 = ? ORDER BY position", (sha256,)
    )
    return [Chunk(row["position"], row["length"], row["sha256"].hex()) for row in rows]


def release(connection: Connection, sha256: str) -> None:
    """Note that a file, or its download, may be dropped when the room is needed."""
    connection.execute("UPDATE partials SET wanted = 0 WHERE sha256 = ?", (sha256,))


def delete_partial(connection: Connection, sha256: str) -> None:
    """Forget a download, and how it was cut, unless its file is installed."""
    connection.execute("DELETE FROM partials WHERE sha256 = ?", (sha256,))
    _delete_unused_chunks(connection)


def partials(connection: Connection) -> dict[str, KnownPartial]:
    """Digest -> what is known of a download, the longest unused first."""
    rows = connection.execute("SELECT sha256, wanted, used_at FROM partials ORDER BY used_at")
    return {row["sha256"]: KnownPartial(bool(row["wanted"]), row["used_at"]) for row in rows}


def locate_chunks(connection: Connection, hashes: Sequence[str]) -> dict[str, list[ChunkRow]]:
    """Chunk hash -> where it lies in files that are whole, or may lie in those that are not."""
    found: dict[str, list[ChunkRow]] = {}
    for batch in _batches(hashes):
        marks = ",".join("?" * len(batch))
        rows = connection.execute(
            "SELECT c.sha256, c.file_sha256, c.position, c.length, EXISTS (SELECT 1 FROM artifacts a "  # noqa: S608 - only question marks
            "WHERE a.file_sha256 = c.file_sha256 AND NOT a.broken) AS whole "
            f"FROM chunks c WHERE c.sha256 IN ({marks})",
            [bytes.fromhex(sha256) for sha256 in batch],
        )
        for row in rows:
            place = ChunkRow(row["file_sha256"], row["position"], row["length"], bool(row["whole"]))
            found.setdefault(row["sha256"].hex(), []).append(place)
    return found


def _batches(hashes: Sequence[str]) -> Iterator[list[str]]:
    remaining = iter(hashes)
    while batch := list(islice(remaining, _QUERY_BATCH)):
        yield batch

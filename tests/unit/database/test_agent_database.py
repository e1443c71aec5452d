import asyncio
import sqlite3
from pathlib import Path

import pytest

from skerry_agent.database import Database, DatabaseError, DatabaseFullError

SCHEMA = (("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",),)


def _texts(connection: sqlite3.Connection) -> list[str]:
    return [row["text"] for row in connection.execute("SELECT text FROM notes ORDER BY id")]


async def test_what_was_written_is_read_also_after_reopening(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "a.db", SCHEMA)
    await database.write(lambda c: c.execute("INSERT INTO notes (text) VALUES ('one')"))
    assert await database.read(_texts) == ["one"]
    await database.close()
    await database.close()
    database = await Database.open(tmp_path / "a.db", SCHEMA)
    assert await database.read(_texts) == ["one"]
    await database.close()


async def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "a.db", SCHEMA)

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes (text) VALUES ('half')")
        raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed"):
        await database.write(half)
    with pytest.raises(sqlite3.IntegrityError):
        await database.write(lambda c: c.execute("INSERT INTO notes (text) VALUES (NULL)"))
    assert await database.read(_texts) == []
    await database.close()


async def test_writes_of_many_tasks_are_serialized(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "a.db", SCHEMA)

    def count_up(connection: sqlite3.Connection) -> None:
        number = connection.execute("SELECT count(*) FROM notes").fetchone()[0]
        connection.execute("INSERT INTO notes (text) VALUES (?)", (str(number),))

    await asyncio.gather(*(database.write(count_up) for _ in range(20)))
    assert await database.read(_texts) == [str(n) for n in range(20)]
    await database.close()


async def test_commits_are_synced_and_readers_cannot_write(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "a.db", SCHEMA)
    full = 2
    assert await database.write(lambda c: c.execute("PRAGMA synchronous").fetchone()[0]) == full
    assert await database.read(lambda c: c.execute("PRAGMA journal_mode").fetchone()[0]) == "wal"
    with pytest.raises(DatabaseError, match="readonly"):
        await database.read(lambda c: c.execute("DELETE FROM notes"))
    await database.close()


async def test_migrations_run_once_and_in_order(tmp_path: Path) -> None:
    later = (*SCHEMA, ("ALTER TABLE notes ADD COLUMN stars INTEGER DEFAULT 3",))
    database = await Database.open(tmp_path / "a.db", SCHEMA)
    await database.write(lambda c: c.execute("INSERT INTO notes (text) VALUES ('kept')"))
    await database.close()
    database = await Database.open(tmp_path / "a.db", later)
    assert await database.read(lambda c: c.execute("SELECT stars FROM notes").fetchone()[0]) == 3
    await database.close()
    with pytest.raises(DatabaseError, match="schema version 2, this program knows 1"):
        await Database.open(tmp_path / "a.db", SCHEMA)


async def test_a_file_that_is_no_database_is_named_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"this is not a database, not at all" * 100)
    with pytest.raises(DatabaseError, match="is damaged"):
        await Database.open(tmp_path / "a.db", SCHEMA)


async def test_a_full_disk_is_said_so_and_changes_nothing(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "a.db", SCHEMA)
    await database.write(lambda c: c.execute("INSERT INTO notes (text) VALUES ('kept')"))
    pages = await database.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    # SQLite's own page limit fails exactly as a full disk does.
    await database.write(lambda c: c.execute(f"PRAGMA max_page_count={pages}").fetchone())
    with pytest.raises(DatabaseFullError, match="free some space"):
        await database.write(
            lambda c: c.executemany("INSERT INTO notes (text) VALUES (?)", [("x" * 4000,)] * 10)
        )
    assert await database.read(_texts) == ["kept"]
    await database.close()


async def test_using_a_closed_database_is_the_callers_bug(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "a.db", SCHEMA)
    await database.close()
    with pytest.raises(RuntimeError):
        await database.read(_texts)

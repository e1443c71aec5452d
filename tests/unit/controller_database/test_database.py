import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from skerry_controller.database import AdminTokenRow, Base, Database, RecordRow
from skerry_controller.errors import WorldError

NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database.at(tmp_path / "controller.db")
    await database.migrate()
    yield database
    await database.close()


def token(name: str) -> AdminTokenRow:
    return AdminTokenRow(id=name, label=name, secret_sha256=name * 8, created_at=NOW, revoked_at=None)


async def test_migrations_lead_to_exactly_the_models(database: Database, tmp_path: Path) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'controller.db'}")
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_migrating_twice_keeps_the_rows(database: Database) -> None:
    async with database.transaction() as session:
        session.add(token("a"))
    await database.migrate()
    async with database.session() as session:
        assert (await session.scalars(select(AdminTokenRow.id))).all() == ["a"]


async def test_a_database_of_a_newer_program_is_refused(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(WorldError, match="another version"):
        await database.migrate()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "controller.db").write_bytes(b"not a database" * 100)
    database = Database.at(tmp_path / "controller.db")
    with pytest.raises(WorldError, match="cannot open"):
        await database.migrate()
    await database.close()


async def test_each_connection_is_durable_and_checks_foreign_keys(database: Database) -> None:
    async with database.session() as session:
        values = [
            (await session.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert values == ["wal", 2, 1]
    with pytest.raises(IntegrityError):
        async with database.transaction() as session:
            session.add(
                RecordRow(
                    device_id="d-nobody",
                    stream="s",
                    sequence=1,
                    kind="sample",
                    name="sample",
                    at_ms=1,
                    data={},
                    received_at=NOW,
                )
            )


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as session:
            session.add(token("a"))
            await session.flush()
            raise KeyError("stop")

    with pytest.raises(KeyError):
        await fail()
    async with database.session() as session:
        assert (await session.scalars(select(AdminTokenRow))).all() == []


async def test_concurrent_writers_all_succeed(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.transaction() as session:
            count = len((await session.scalars(select(AdminTokenRow.id))).all())
            session.add(token(f"t{number}-{count}"))

    await asyncio.gather(*(write(number) for number in range(20)))
    async with database.session() as session:
        ids = (await session.scalars(select(AdminTokenRow.id))).all()
    assert sorted(int(name.split("-")[1]) for name in ids) == list(range(20))


async def test_two_processes_writing_wait_for_each_other(database: Database, tmp_path: Path) -> None:
    other = Database.at(tmp_path / "controller.db")

    async def write(target: Database, name: str) -> None:
        async with target.transaction() as session:
            await session.execute(select(AdminTokenRow))
            session.add(token(name))

    await asyncio.gather(
        *(write(target, f"{i}{j}") for i, target in enumerate((database, other)) for j in "ab")
    )
    async with other.session() as session:
        assert len((await session.scalars(select(AdminTokenRow.id))).all()) == 4
    await other.close()


async def test_a_transaction_inside_a_transaction_is_a_bug_and_not_a_deadlock(database: Database) -> None:
    async with database.transaction():
        with pytest.raises(RuntimeError, match="inside a transaction"):
            async with database.transaction():
                pass


async def test_moments_come_back_in_utc_whatever_zone_they_went_in_with(database: Database) -> None:
    async with database.transaction() as session:
        row = token("a")
        row.created_at = NOW.astimezone(timezone(timedelta(hours=5)))
        session.add(row)
    async with database.session() as session:
        stored = (await session.scalars(select(AdminTokenRow))).one()
        assert stored.created_at == NOW
        assert stored.created_at.tzinfo is UTC

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from skerry_controller.errors import WorldError

_BUSY_TIMEOUT_MS = 10_000
_WRITES = "skerry_writes"
_PRIMARY_CODE = 0xFF
"""SQLite's extended result codes stand above it."""


class Database:
    """Sessions on one database.

    Reads go through :meth:`session`, writes through :meth:`transaction`. On SQLite a write begins with
    ``BEGIN IMMEDIATE`` and writers of this process queue on a lock, so none fails with "database is
    locked" and no read turns into a write half way.
    """

    def __init__(self, url: str | URL) -> None:
        """Set up the engine; nothing is opened yet.

        Args:
            url: SQLAlchemy's form, such as ``sqlite+aiosqlite:////var/lib/skerry/controller.db``.
        """
        self._engine = create_async_engine(url, pool_pre_ping=not str(url).startswith("sqlite"))
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        if self._is_sqlite:
            event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
        writing = self._engine.execution_options(**{_WRITES: True})
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._writing_sessions = async_sessionmaker(writing, expire_on_commit=False)
        self._write_lock = asyncio.Lock()
        self._writer: asyncio.Task[Any] | None = None

    @classmethod
    def at(cls, path: Path) -> Self:
        """The SQLite database in the file at ``path``."""
        return cls(URL.create("sqlite+aiosqlite", database=str(path)))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session for reading, on one consistent snapshot; what it changes is rolled back."""
        async with self._sessions() as session:
            yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session for writing: committed when the block ends, rolled back when it raises.

        Keep it short, await nothing but the database inside, and open no second one inside.

        Raises:
            RuntimeError: This task is already inside a transaction.
            WorldError: There is no room on the disk; nothing was changed.
        """
        task = asyncio.current_task()
        if self._writer is not None and self._writer is task:
            raise RuntimeError("a transaction inside a transaction would wait for itself")
        async with self._write_lock:
            self._writer = task
            try:
                async with self._writing_sessions.begin() as session:
                    yield session
            except OperationalError as error:
                if getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE != sqlite3.SQLITE_FULL:
                    raise
                raise WorldError(
                    f"no room on the disk for {self._engine.url.database}: free some space, then try again"
                ) from error
            finally:
                self._writer = None

    async def migrate(self) -> None:
        """Bring the tables to this program's revision; does nothing when they are there.

        Raises:
            WorldError: The database cannot be opened, or a newer program wrote it.
        """
        from alembic.util.exc import CommandError  # noqa: PLC0415 - a second of imports, needed once

        try:
            async with self._engine.connect() as connection:
                await connection.run_sync(_upgrade)
                await connection.commit()
        except CommandError as error:
            raise WorldError(
                f"the database {self._engine.url.database} is of another version of skerry ({error}): "
                "start the version that wrote it, or restore a backup"
            ) from error
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise WorldError(
                f"cannot open or migrate the database {self._engine.url.database}: {error}"
            ) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Python's driver would begin transactions by its own rules; ours are in _begin_sqlite.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - as above
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

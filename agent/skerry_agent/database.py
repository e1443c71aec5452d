"""SQLite under asyncio: one thread writes, one reads, and a commit means that the bytes are on the disk.

Every write is one ``BEGIN IMMEDIATE`` transaction on the writer's thread; so the loop never waits for a disk,
and two writers never meet. WAL with ``synchronous=FULL``: at NORMAL a power cut may take back commits.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from skerry_agent.errors import WorldError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Migration = Sequence[str]
"""SQL statements that take the schema from one version to the next."""

_BUSY_TIMEOUT_S = 10.0
"""How long to wait for another process that writes (a command while the daemon runs)."""
_CACHE_KIB = 512
"""Page cache of one connection; SQLite's default of 2 MiB, twice, is much for a small daemon."""
_PRIMARY_CODE = 0xFF
"""SQLite's extended result codes stand above it."""
_OFTEN_NO_ROOM = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""What it says when there is no room for the files beside the database."""
_SCARCE_BYTES = 256 * 1024


class DatabaseError(WorldError):
    """The database cannot be opened, read or written: damaged, of a later version, or the disk failed."""


class DatabaseFullError(DatabaseError):
    """There is no room on the disk for the write; nothing was changed."""


class Database:
    """One SQLite file with a writer thread and a reader thread. Open it with :meth:`open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"{path.stem}-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix=f"{path.stem}-reader")
        self._write_connection: sqlite3.Connection | None = None
        self._read_connection: sqlite3.Connection | None = None

    @classmethod
    async def open(cls, path: Path, migrations: Sequence[Migration]) -> Self:
        """Open or create a database and bring its schema up to date.

        Args:
            path: The file; its folder must exist.
            migrations: One entry a schema version, oldest first; only ever append. ``user_version`` counts
                those that were applied.

        Raises:
            DatabaseError: It is damaged, was written by a later version, or the disk failed.
        """
        database = cls(path)
        try:
            await database._run(database._writer, lambda: database._open_writer(migrations))
            await database._run(database._reader, database._open_reader)
        except BaseException:
            await database.close()
            raise
        return database

    async def write(self, work: Work[T]) -> T:
        """Run ``work(connection)`` in one transaction on the writer's thread and return its result.

        It is committed and synced when this returns, and rolled back when ``work`` raises. If the caller is
        cancelled while it waits, the write may or may not happen.

        Raises:
            DatabaseFullError: No room on the disk; nothing was changed.
            DatabaseError: The database is damaged or the disk failed.
        """
        return await self._run(self._writer, lambda: self._transact(work))

    async def read(self, work: Work[T]) -> T:
        """Run ``work(connection)`` on the reader's thread, in one consistent view of what was committed.

        Raises:
            DatabaseError: The database is damaged or the disk failed.
        """
        return await self._run(self._reader, lambda: self._view(work))

    async def close(self) -> None:
        """Finish what was handed in, then close. Closing twice is fine."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for executor, attribute in ((self._reader, "_read_connection"), (self._writer, "_write_connection")):
            connection: sqlite3.Connection | None = getattr(self, attribute)
            if connection is not None:
                # The reader first: the last connection to close folds the WAL back into the file.
                executor.submit(connection.close).result()
                setattr(self, attribute, None)
            executor.shutdown()

    async def _run(self, executor: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, call)
        except sqlite3.DatabaseError as error:
            raise self._explain(error) from error

    def _explain(self, error: sqlite3.DatabaseError) -> Exception:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            return error
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
        if code == sqlite3.SQLITE_FULL or (code in _OFTEN_NO_ROOM and self._free_bytes() < _SCARCE_BYTES):
            return DatabaseFullError(f"no room on the disk for {self.path}: free some space")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return DatabaseError(f"{self.path} is damaged ({error}): move it away and start again")
        return DatabaseError(f"{self.path}: {error}")

    def _free_bytes(self) -> int:
        try:
            figures = os.statvfs(self.path.parent)
        except OSError:
            return _SCARCE_BYTES
        return figures.f_bavail * figures.f_frsize

    def _open_writer(self, migrations: Sequence[Migration]) -> None:
        self._write_connection = connection = self._connect()
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(migrations):
            raise DatabaseError(
                f"{self.path} has schema version {version}, this program knows {len(migrations)}: "
                "install the later version again, or move the file away"
            )
        for number, statements in enumerate(migrations[version:], start=version + 1):
            self._transact(partial(_migrate, statements=statements, number=number))

    def _open_reader(self) -> None:
        self._read_connection = connection = self._connect()
        connection.execute("PRAGMA query_only=ON")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _transact(self, work: Work[T]) -> T:
        connection = self._require(self._write_connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _view(self, work: Work[T]) -> T:
        connection = self._require(self._read_connection)
        connection.execute("BEGIN")
        try:
            return work(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _require(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        if connection is None:
            raise RuntimeError(f"{self.path} is closed")
        return connection


def _migrate(connection: sqlite3.Connection, statements: Migration, number: int) -> None:
    for statement in statements:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version={number}")

"""Imports that are under way: one at a time, each with the command that reads its stick."""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

import structlog

from skerry_agent.bundles.exchange import Answer, Exchange
from skerry_agent.bundles.files import BundleFiles
from skerry_agent.bundles.importing import BundleImport
from skerry_agent.bundles.limits import ImportLimits
from skerry_agent.errors import AgentError, UsageError
from skerry_protocol.errors import ProtocolError

log = structlog.get_logger(__name__)


class _Session:
    """One import and its command."""

    def __init__(self, limits: ImportLimits, wait_s: float) -> None:
        self.id = secrets.token_hex(8)
        self.exchange = Exchange(limits)
        self.wait_s = wait_s
        self.seen_at = time.monotonic()
        self.over = False
        self.task: asyncio.Task[None] | None = None


class ImportSessions:
    """Begins imports and takes their commands' steps. Run :meth:`run` as a task.

    Args:
        make: Makes an import over a bundle's files.
        limits: Times.
    """

    def __init__(self, make: Callable[[BundleFiles], BundleImport], limits: ImportLimits) -> None:
        self._make = make
        self._limits = limits
        self._begun: asyncio.Queue[_Session] = asyncio.Queue()
        self._current: _Session | None = None

    def begin(self, wait_s: float | None = None) -> str:
        """Begin an import; the first :meth:`turn` gives its first step.

        Returns:
            The import's id.

        Raises:
            UsageError: Another one is under way.
        """
        current = self._current
        if current is not None and not current.over:
            if time.monotonic() - current.seen_at < self._limits.abandoned_s:
                raise UsageError("another bundle is being imported: wait for its end, then try again")
            self._end(current)
        session = _Session(self._limits, self._limits.wait_s if wait_s is None else wait_s)
        self._current = session
        self._begun.put_nowait(session)
        return session.id

    async def turn(self, import_id: str, answer: Answer | None) -> dict[str, Any]:
        """Take the answer to the last step, and give the next.

        Raises:
            UsageError: There is no such import (any more).
            StickError: There is no next step.
        """
        session = self._session(import_id)
        session.seen_at = time.monotonic()
        return await session.exchange.turn(answer)

    def cancel(self, import_id: str) -> None:
        """Break an import off; what it brought stays, and the update waits for the rest."""
        self._end(self._session(import_id))

    async def run(self) -> None:
        """Do the imports, one after the other; never returns by itself."""
        while True:
            session = await self._begun.get()
            if session.over:
                continue
            session.task = asyncio.create_task(self._import(session), name="bundle-import")
            try:
                await asyncio.wait({session.task})
            finally:
                session.over = True
                session.task.cancel()
                await asyncio.wait({session.task})

    async def _import(self, session: _Session) -> None:
        try:
            result = await self._make(session.exchange).run(session.wait_s)
        except (AgentError, ProtocolError) as error:
            result = {"outcome": "failed", "code": "failed", "message": str(error)}
        except Exception as error:
            log.exception("import_failed", error=str(error))
            result = {"outcome": "failed", "code": "internal", "message": "the agent failed: see its log"}
        session.over = True  # before the command hears of it, which may begin another at once
        session.exchange.end(result)

    def _session(self, import_id: str) -> _Session:
        if self._current is None or self._current.id != import_id:
            raise UsageError("this import is over: begin it anew")
        return self._current

    def _end(self, session: _Session) -> None:
        session.over = True
        if session.task is not None:
            session.task.cancel()

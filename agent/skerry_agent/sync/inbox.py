"""Messages of one kind that wait for their handler, within bounds."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.sync.errors import InboxOverflowError

log = structlog.get_logger(__name__)


class Inbox:
    """A bounded queue and the task that empties it, one message after another.

    Args:
        name: Of the messages' topic, for logs.
        handle: Handles one message.
        max_messages: How many may wait.
        max_bytes: How many bytes may wait.
    """

    def __init__(
        self, name: str, handle: Callable[[bytes], Awaitable[None]], *, max_messages: int, max_bytes: int
    ) -> None:
        self._name = name
        self._handle = handle
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()

    def put(self, payload: bytes) -> None:
        """Take a message.

        Raises:
            InboxOverflowError: Too much waits already. Nothing may be dropped in silence: the caller ends
                the session, and what is missing is asked for again.
        """
        if len(self._waiting) >= self._max_messages or self._bytes + len(payload) > self._max_bytes:
            raise InboxOverflowError(f"more {self._name} messages came than are handled in time")
        self._waiting.append(payload)
        self._bytes += len(payload)
        self._filled.set()

    async def run(self) -> None:
        """Handle messages as they come; never returns."""
        while True:
            await self._filled.wait()
            while self._waiting:
                payload = self._waiting.popleft()
                self._bytes -= len(payload)
                await self._handle_one(payload)
            self._filled.clear()

    async def _handle_one(self, payload: bytes) -> None:
        try:
            await self._handle(payload)
        except AgentError as error:
            log.warning("message_not_handled", kind=self._name, error=str(error))
        except Exception:
            # A message comes from outside: whatever it meets here, it must not end the daemon.
            log.exception("message_not_handled", kind=self._name)

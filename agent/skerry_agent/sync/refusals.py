"""Events for refused messages, bounded: whoever floods a device with forgeries must not fill its outbox."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog

from skerry_agent.events import EventSink
from skerry_protocol.errors import ProtocolError, SignatureError, TooLargeError, UnsupportedVersionError
from skerry_protocol.records import Value

log = structlog.get_logger(__name__)

_REMEMBERED = 256
_MINUTE_S = 60.0


def code_of(error: ProtocolError) -> str:
    """The stable code of what is wrong with a message."""
    if isinstance(error, SignatureError):
        return "bad_signature"
    if isinstance(error, TooLargeError):
        return "too_large"
    if isinstance(error, UnsupportedVersionError):
        return "future_version"
    return "malformed"


class Refusals:
    """Records refusals: the same bytes once a session, and so many a minute.

    Args:
        events: Where they go.
        max_per_minute: The rest is counted and told with the next one.
        monotonic: Seconds.
    """

    def __init__(
        self, events: EventSink, max_per_minute: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._events = events
        self._most = max_per_minute
        self._monotonic = monotonic
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._minute_began = monotonic()
        self._in_minute = 0
        self._suppressed = 0

    def session_started(self, frame_bytes: int) -> None:  # noqa: ARG002 - a listener's signature
        """A retained message comes again with each session, and is then recorded again."""
        self._seen.clear()

    def session_ended(self) -> None:
        """Nothing to do."""

    async def record(self, name: str, code: str, message: str, payload: bytes, **data: Value) -> None:
        """Emit the event ``name`` unless it would be one too many.

        Args:
            name: ``desired_refused``, ``command_refused`` or ``ack_refused``.
            code: What is wrong, for programs.
            message: The same for people.
            payload: The refused message.
            **data: More fields.
        """
        digest = hashlib.sha256(name.encode() + payload).digest()
        if digest in self._seen or not self._may_emit():
            self._suppressed += digest not in self._seen
            return
        self._seen[digest] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if self._suppressed:
            data["suppressed"] = self._suppressed
            self._suppressed = 0
        log.warning(name, code=code, message=message, **data)
        await self._events.emit(name, audit=False, code=code, message=message, **data)

    def _may_emit(self) -> bool:
        now = self._monotonic()
        if now - self._minute_began >= _MINUTE_S:
            self._minute_began, self._in_minute = now, 0
        self._in_minute += 1
        return self._in_minute <= self._most

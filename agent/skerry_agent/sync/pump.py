"""Sends what the outbox holds until the controller's own acknowledgement comes."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import structlog

from skerry_agent.database import DatabaseError
from skerry_agent.outbox import PendingBatch
from skerry_agent.sync.errors import FrameTooLargeError, NotConnectedError
from skerry_agent.sync.limits import SyncLimits
from skerry_agent.sync.ports import RecordQueue, Uplink
from skerry_protocol import ranges
from skerry_protocol.envelope import seal
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.ranges import Range
from skerry_protocol.records import encode_batch
from skerry_protocol.signing import Signer

log = structlog.get_logger(__name__)

_COMPRESSION = 4
"""How much smaller batches get at least, roughly; what comes out too large is halved."""
_MAX_DOUBLINGS = 16


class _Flight(NamedTuple):
    """A batch under way."""

    stream: str
    covers: list[Range]
    deadline: float


class Pump:
    """Sends batches, a few at a time, and again when they are not acknowledged in time.

    The broker's receipt (PUBACK) counts for nothing: only the director's acknowledgement, sent after the
    controller's commit, lets a record go.

    Args:
        outbox: The records.
        uplink: The session.
        device: The device's id.
        signer: The device's key.
        limits: Times and bounds.
        monotonic: Seconds.
    """

    def __init__(
        self,
        outbox: RecordQueue,
        uplink: Uplink,
        *,
        device: str,
        signer: Signer,
        limits: SyncLimits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._uplink = uplink
        self._device = device
        self._signer = signer
        self._limits = limits
        self._monotonic = monotonic
        self._flights: list[_Flight] = []
        self._timeouts = 0
        self._wake = asyncio.Event()
        outbox.watch(self._wake.set)

    def session_started(self, frame_bytes: int) -> None:  # noqa: ARG002 - a listener's signature
        """What was under way in an earlier session is sent again."""
        self.send_again()

    def send_again(self) -> None:
        """Send everything that is not acknowledged now, instead of waiting for its time.

        For when the other side is known to be back: a controller that was away missed what was under way.
        """
        self._flights.clear()
        self._timeouts = 0
        self._wake.set()

    def session_ended(self) -> None:
        """Nothing to do."""

    def acknowledged(self, streams: Mapping[str, Sequence[Range]]) -> None:
        """The controller has stored these records."""
        left = []
        for flight in self._flights:
            stored = streams.get(flight.stream, ())
            if not all(_covered(stored, one) for one in flight.covers):
                left.append(flight)
        if len(left) < len(self._flights):
            self._timeouts = 0
        self._flights = left
        self._wake.set()

    async def run(self) -> None:
        """Send as long as there is something and a session; never returns."""
        while True:
            try:
                await self._uplink.wait_connected(self._limits.reconnect_wait_s)
                self._wake.clear()
                self._expire()
                while len(self._flights) < self._room() and await self._send_next():
                    pass
                await self._rest()
            except NotConnectedError:
                continue
            except FrameTooLargeError:
                # The session came back with smaller frames while the batch was made: make it anew.
                await asyncio.sleep(0)
            except DatabaseError as error:
                log.warning("outbox_unreadable", error=str(error))
                await asyncio.sleep(self._limits.ack_timeout_s)

    def _room(self) -> int:
        return 1 if self._timeouts else self._limits.max_unacked_batches

    def _expire(self) -> None:
        now = self._monotonic()
        left = [flight for flight in self._flights if flight.deadline > now]
        if len(left) < len(self._flights):
            self._timeouts += 1
            log.info("batches_not_acknowledged", batches=len(self._flights) - len(left))
        self._flights = left

    async def _rest(self) -> None:
        """Wait for news or until the first batch under way is overdue."""
        first = min((flight.deadline for flight in self._flights), default=None)
        pause_s = self._limits.heartbeat_s if first is None else max(0.0, first - self._monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._wake.wait()

    async def _send_next(self) -> bool:
        frame_bytes = min(self._uplink.frame_bytes, self._limits.max_batch_frame_bytes)
        in_flight = {
            stream: ranges.union(*(f.covers for f in self._flights if f.stream == stream))
            for stream in {flight.stream for flight in self._flights}
        }
        batches = await self._outbox.pending_batches(
            min(frame_bytes * _COMPRESSION, DEFAULT_LIMITS.max_batch_bytes // 2),
            DEFAULT_LIMITS.max_records // 2,
            in_flight=in_flight,
        )
        if not batches:
            return False
        batch, data = await asyncio.to_thread(seal_batch, batches[0], self._device, self._signer, frame_bytes)
        if data is None:
            log.warning("record_too_large", name=batch.records[0].name, frame_bytes=frame_bytes)
            await self._outbox.give_up(batch.stream, batch.records[0].sequence)
            return True
        timeout_s = self._limits.ack_timeout_s * 2 ** min(self._timeouts, _MAX_DOUBLINGS)
        deadline = self._monotonic() + min(timeout_s, self._limits.ack_timeout_max_s)
        flight = _Flight(batch.stream, batch.covers, deadline)
        self._flights.append(flight)  # before sending: the acknowledgement may be faster than the receipt
        try:
            await self._uplink.publish(batch.leaf, data)
        except BaseException:
            if flight in self._flights:
                self._flights.remove(flight)
            raise
        return True


def seal_batch(
    batch: PendingBatch, device: str, signer: Signer, frame_bytes: int
) -> tuple[PendingBatch, bytes | None]:
    """The largest first part of a batch whose envelope fits a frame, and that envelope.

    The envelope is None when a single entry does not fit.
    """
    while True:
        data = seal("records", encode_batch(batch.to_batch(device)), [signer], binary=True)
        if len(data) <= frame_bytes:
            return batch, data
        smaller = batch.halved()
        if smaller == batch:
            return batch, None
        batch = smaller


def _covered(stored: Sequence[Range], wanted: Range) -> bool:
    return any(first <= wanted[0] and wanted[1] <= last for first, last in stored)

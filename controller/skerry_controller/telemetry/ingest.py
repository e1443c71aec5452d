from collections import Counter

import structlog

from skerry_controller.clock import Clock
from skerry_controller.database import Database
from skerry_controller.director import Director
from skerry_controller.fleet import DeviceKeys, Outlet, WrongDeviceError
from skerry_controller.telemetry.store import StoredBatch, store_batch, stored_ranges
from skerry_protocol.ranges import Range
from skerry_protocol.records import RecordBatch, decode_batch

log = structlog.get_logger(__name__)

_MAX_STREAMS = 128
"""Streams that one carried acknowledgement speaks of: two for each start of an agent."""
_MAX_RANGES = 2000
"""So an acknowledgement stays well below the largest control message."""


class TelemetryIngest:
    """Takes record batches in: verified, stored once, acknowledged after the commit."""

    def __init__(
        self, database: Database, keys: DeviceKeys, director: Director, outlet: Outlet, clock: Clock
    ) -> None:
        self._database = database
        self._keys = keys
        self._director = director
        self._outlet = outlet
        self._clock = clock
        self.duplicates: Counter[str] = Counter()
        """Device -> records that came again since this process started."""

    async def accept(self, device: str, data: bytes) -> StoredBatch:
        """Store one message of ``up/telemetry`` or ``up/events``.

        Args:
            device: Whose topic it came by.
            data: The message.

        Raises:
            ProtocolError: It is malformed, too large, or not signed by the device.
            PeerError: The device is unknown or revoked, or the batch names another one.
        """
        batch = await self._open(device, data)
        stored = await self._store(batch, seen=True)
        if stored.acknowledged:
            acknowledgement = self._director.acknowledge(device, {batch.stream: stored.acknowledged})
            await self._outlet.send(device, "ack", acknowledgement)
        return stored

    async def accept_carried(self, device: str, data: bytes) -> StoredBatch:
        """Store a batch that came on a stick; the acknowledgement takes the same way (:meth:`stored`).

        Raises:
            ProtocolError: It is malformed, too large, or not signed by the device.
            PeerError: The device is unknown or revoked, or the batch names another one.
        """
        return await self._store(await self._open(device, data), seen=False)

    async def stored(self, device: str) -> dict[str, list[Range]]:
        """Stream -> ranges that are stored, or counted as gone, of a device's latest streams."""
        return await stored_ranges(self._database, device, max_streams=_MAX_STREAMS, max_ranges=_MAX_RANGES)

    async def _open(self, device: str, data: bytes) -> RecordBatch:
        batch = decode_batch(await self._keys.open(device, "records", data))
        if batch.device != device:
            raise WrongDeviceError(f"records of {batch.device} came by the topic of {device}")
        return batch

    async def _store(self, batch: RecordBatch, *, seen: bool) -> StoredBatch:
        stored = await store_batch(self._database, batch, self._clock(), seen=seen)
        if stored.duplicates:
            self.duplicates[batch.device] += stored.duplicates
        log.debug("records_stored", device=batch.device, stored=stored.stored, duplicates=stored.duplicates)
        return stored

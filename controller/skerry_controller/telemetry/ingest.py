from collections import Counter

import structlog

from skerry_controller.clock import Clock
from skerry_controller.database import Database
from skerry_controller.director import Director
from skerry_controller.fleet import DeviceKeys, Outlet, WrongDeviceError
from skerry_controller.telemetry.store import StoredBatch, store_batch
from skerry_protocol.records import decode_batch

log = structlog.get_logger(__name__)


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
        batch = decode_batch(await self._keys.open(device, "records", data))
        if batch.device != device:
            raise WrongDeviceError(f"records of {batch.device} came by the topic of {device}")
        stored = await store_batch(self._database, batch, self._clock())
        if stored.duplicates:
            self.duplicates[device] += stored.duplicates
        log.debug("records_stored", device=device, stored=stored.stored, duplicates=stored.duplicates)
        if stored.acknowledged:
            acknowledgement = self._director.acknowledge(device, {batch.stream: stored.acknowledged})
            await self._outlet.send(device, "ack", acknowledgement)
        return stored

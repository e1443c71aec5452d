"""What devices without a network sent back on a stick: taken in as if it had come over MQTT."""

from dataclasses import dataclass

import structlog

from skerry_controller.director import Director
from skerry_controller.errors import PeerError
from skerry_controller.fleet import DesiredPublisher, Refusals, Reports, refusal_code
from skerry_controller.rollouts import Rollouts
from skerry_controller.telemetry import TelemetryIngest
from skerry_protocol.bundle import frame
from skerry_protocol.errors import ProtocolError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TakenRecords:
    """What became of one batch: records that are new, and records that were there."""

    stored: int
    duplicates: int


class CarriedBack:
    """Takes in reports and records that came on a stick; gives acknowledgements for the way back."""

    def __init__(
        self,
        reports: Reports,
        ingest: TelemetryIngest,
        publisher: DesiredPublisher,
        rollouts: Rollouts,
        director: Director,
        refusals: Refusals,
    ) -> None:
        self._reports = reports
        self._ingest = ingest
        self._publisher = publisher
        self._rollouts = rollouts
        self._director = director
        self._refusals = refusals

    async def report(self, device: str, data: bytes) -> bool:
        """Take in a device's report.

        Args:
            device: Whose folder it lay in.
            data: The envelope.

        Returns:
            Whether it is news: newer than what was known.

        Raises:
            ProtocolError: It is malformed, too large, or not signed by the device.
            PeerError: The device is unknown or revoked, or the report names another one.
        """
        try:
            accepted = await self._reports.accept(device, data, carried=True)
        except (ProtocolError, PeerError) as error:
            await self._refusals.record(device, "reported", refusal_code(error), str(error))
            raise
        if accepted.is_news:
            await self._rollouts.tick()
            await self._publisher.heal(device, accepted.report.desired)
        return accepted.is_news

    async def records(self, device: str, data: bytes) -> TakenRecords:
        """Take in one batch of records; each is stored once, however often it comes.

        Raises:
            ProtocolError: It is malformed, too large, or not signed by the device.
            PeerError: The device is unknown or revoked, or the batch names another one.
        """
        try:
            stored = await self._ingest.accept_carried(device, data)
        except (ProtocolError, PeerError) as error:
            await self._refusals.record(device, "events", refusal_code(error), str(error))
            raise
        return TakenRecords(stored.stored, stored.duplicates)

    async def acknowledgements(self, device: str, *, valid_s: int) -> bytes:
        """What is stored of the device's latest streams, as a file of frames; empty when nothing is."""
        streams = await self._ingest.stored(device)
        return frame(self._director.acknowledge(device, streams, life_s=valid_s)) if streams else b""

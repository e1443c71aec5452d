from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from sqlalchemy import select, update

from skerry_controller.clock import Clock
from skerry_controller.database import Database, DeviceRow
from skerry_controller.fleet.device_keys import DeviceKeys
from skerry_controller.fleet.errors import WrongDeviceError
from skerry_protocol.generation import Generation
from skerry_protocol.reported import ReportedState, decode_reported, decode_status

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AcceptedReport:
    """A verified report.

    Attributes:
        report: What the device says.
        is_news: Whether it was stored: neither a repetition nor older than what was known.
    """

    report: ReportedState
    is_news: bool


class Reports:
    """Takes in what devices report: signed state, and presence."""

    def __init__(self, database: Database, keys: DeviceKeys, clock: Clock) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock

    async def accept(self, device: str, data: bytes) -> AcceptedReport:
        """Verify and store a report.

        Within a boot the counter rises. A report of another boot is newer unless the device had already
        accepted a later desired state than it says: then somebody repeats an old message.

        Args:
            device: Whose topic it came by.
            data: The message.

        Raises:
            ProtocolError: It is malformed, too large, or not signed by the device.
            PeerError: The device is unknown or revoked, or the report names another one.
        """
        report = decode_reported(await self._keys.open(device, "reported", data))
        if report.device != device:
            raise WrongDeviceError(f"a report about {report.device} came by the topic of {device}")
        now = self._clock()
        columns = (DeviceRow.boot_id, DeviceRow.counter, DeviceRow.reported["desired"])
        async with self._database.transaction() as session:
            boot_id, counter, mark = (
                await session.execute(select(*columns).where(DeviceRow.id == device))
            ).one()
            if not _is_newer(report, boot_id, counter, mark):
                log.debug("report_not_newer", device=device, counter=report.counter)
                return AcceptedReport(report, is_news=False)
            values = {
                "reported": msgspec.to_builtins(report),
                "reported_at": now,
                "last_seen_at": now,
                "boot_id": report.boot_id,
                "counter": report.counter,
                "inventory": msgspec.to_builtins(report.inventory),
            }
            await session.execute(update(DeviceRow).where(DeviceRow.id == device).values(**values))
        return AcceptedReport(report, is_news=True)

    async def note_presence(self, device: str, data: bytes, *, retained: bool) -> bool:
        """Store a status message: a hint, since it is not signed.

        Args:
            device: Whose topic it came by.
            data: The message.
            retained: The broker kept it; then "offline" says nothing about when.

        Returns:
            Whether the device says that it is online.

        Raises:
            ProtocolError: It is malformed.
            WrongDeviceError: It names another device.
        """
        status = decode_status(data)
        if status.device != device:
            raise WrongDeviceError(f"a status of {status.device} came by the topic of {device}")
        values: dict[str, Any] = {"online": status.online}
        if status.online or not retained:
            values["last_seen_at"] = self._clock()
        async with self._database.transaction() as session:
            await session.execute(update(DeviceRow).where(DeviceRow.id == device).values(**values))
        return status.online

    async def forget_presence(self) -> None:
        """Nobody is known to be online: the broker is out of reach."""
        async with self._database.transaction() as session:
            await session.execute(update(DeviceRow).where(DeviceRow.online.is_(True)).values(online=False))


def _is_newer(report: ReportedState, boot_id: str | None, counter: int, mark: dict[str, Any] | None) -> bool:
    if boot_id == report.boot_id:
        return report.counter > counter
    if boot_id is None or mark is None or report.desired is None:
        # A device that lost its state says so by accepting nothing; that has to be seen.
        return True
    return report.desired.generation >= Generation(**mark["generation"])

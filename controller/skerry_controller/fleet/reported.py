from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.clock import Clock
from skerry_controller.database import Database, DeviceBootRow, DeviceRow
from skerry_controller.fleet.device_keys import DeviceKeys
from skerry_controller.fleet.errors import WrongDeviceError
from skerry_protocol.generation import Generation
from skerry_protocol.reported import ReportedState, decode_reported, decode_status

log = structlog.get_logger(__name__)

MAX_BOOTS = 256
"""Boots of one device that are remembered, the latest."""


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

    async def accept(self, device: str, data: bytes, *, carried: bool = False) -> AcceptedReport:
        """Verify and store a report.

        Each report counts once, and those of one boot in their order: whoever repeats or reorders them at the
        broker brings nothing back. A report of another boot than the last is newer unless the device had
        already accepted a later desired state than it says.

        Args:
            device: Whose topic it came by.
            data: The message.
            carried: It came on a stick, and may be old: by its own time it must be newer than what is known.

        Raises:
            ProtocolError: It is malformed, too large, or not signed by the device.
            PeerError: The device is unknown or revoked, or the report names another one.
        """
        report = decode_reported(await self._keys.open(device, "reported", data))
        if report.device != device:
            raise WrongDeviceError(f"a report about {report.device} came by the topic of {device}")
        now = self._clock()
        columns = (DeviceRow.boot_id, DeviceRow.reported["desired"], DeviceRow.reported["reported_at"])
        async with self._database.transaction() as session:
            known = select(*columns).where(DeviceRow.id == device)
            boot_id, mark, told_at = (await session.execute(known)).one()
            boot = await session.get(DeviceBootRow, (device, report.boot_id))
            overtaken = carried and report.reported_at < (told_at or 0)
            if overtaken or not _is_newer(report, boot_id, -1 if boot is None else boot.counter, mark):
                log.debug("report_not_newer", device=device, counter=report.counter)
                return AcceptedReport(report, is_news=False)
            values = {
                "reported": msgspec.to_builtins(report),
                "reported_at": now,
                "boot_id": report.boot_id,
                "counter": report.counter,
                "inventory": msgspec.to_builtins(report.inventory),
            }
            if not carried:
                values["last_seen_at"] = now
            await session.execute(update(DeviceRow).where(DeviceRow.id == device).values(**values))
            await _note_boot(session, report, boot, now)
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


async def _note_boot(
    session: AsyncSession, report: ReportedState, boot: DeviceBootRow | None, now: datetime
) -> None:
    if boot is not None:
        boot.counter, boot.seen_at = report.counter, now
        return
    session.add(
        DeviceBootRow(device_id=report.device, boot_id=report.boot_id, counter=report.counter, seen_at=now)
    )
    await session.flush()
    latest = (
        select(DeviceBootRow.boot_id)
        .where(DeviceBootRow.device_id == report.device)
        .order_by(DeviceBootRow.seen_at.desc(), DeviceBootRow.boot_id)
        .limit(MAX_BOOTS)
    )
    await session.execute(
        delete(DeviceBootRow)
        .where(DeviceBootRow.device_id == report.device, DeviceBootRow.boot_id.not_in(latest))
        .execution_options(synchronize_session=False)
    )


def _is_newer(report: ReportedState, boot_id: str | None, counter: int, mark: dict[str, Any] | None) -> bool:
    if report.counter <= counter:
        return False
    if boot_id == report.boot_id:
        return True
    if boot_id is None or mark is None or report.desired is None:
        # A device that lost its state says so by accepting nothing; that has to be seen.
        return True
    return report.desired.generation >= Generation(**mark["generation"])

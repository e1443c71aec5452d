import asyncio
import hashlib
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.clock import Clock
from skerry_controller.database import Database, DeviceRow
from skerry_controller.director import Director
from skerry_controller.fleet.desired import AssignmentView, DesiredContent, FleetPlan, desired_content
from skerry_controller.fleet.outlet import Outlet
from skerry_controller.fleet.plan_loading import load_assignments, load_plan
from skerry_controller.fleet.settings import FleetSettings
from skerry_protocol.desired import decode_desired
from skerry_protocol.envelope import parse
from skerry_protocol.errors import ProtocolError
from skerry_protocol.generation import ZERO, Generation, GenerationMark, compare

log = structlog.get_logger(__name__)

_COLUMNS = (
    DeviceRow.id,
    DeviceRow.labels,
    DeviceRow.desired_epoch,
    DeviceRow.desired_number,
    DeviceRow.desired_content_sha256,
    DeviceRow.desired_envelope,
    DeviceRow.reported["desired"].label("reported_mark"),
)


@dataclass(frozen=True, slots=True)
class TrustState:
    """What the repository says now: the trust document's epoch, and the version of each TUF role."""

    epoch: int
    versions: Mapping[str, int]


class DesiredPublisher:
    """Allocates generations, seals desired states, and publishes them until devices report them.

    A generation is allocated and its envelope stored in one transaction, so one number never names two
    desired states. What is published is always the stored bytes.
    """

    def __init__(
        self,
        database: Database,
        director: Director,
        outlet: Outlet,
        trust: Callable[[], TrustState],
        clock: Clock,
        settings: FleetSettings | None = None,
    ) -> None:
        self._database = database
        self._director = director
        self._outlet = outlet
        self._trust = trust
        self._clock = clock
        self._settings = settings or FleetSettings()
        self._healed: dict[str, float] = {}

    async def refresh(
        self, devices: Collection[str] | None = None, *, above_reported: Collection[str] = ()
    ) -> list[str]:
        """Bring the desired states of these devices (of all by default) up to the plan.

        Args:
            devices: Whose.
            above_reported: Devices that get a new generation in any case.

        Returns:
            The devices whose desired state is new.
        """
        trust = await asyncio.to_thread(self._trust)
        sealed: dict[str, bytes] = {}
        query = select(*_COLUMNS).where(DeviceRow.revoked_at.is_(None))
        if devices is not None:
            query = query.where(DeviceRow.id.in_(devices))
        only = next(iter(devices)) if devices is not None and len(devices) == 1 else None
        async with self._database.transaction() as session:
            plan = await load_plan(session)
            assignments = await load_assignments(session, device=only)
            for row in (await session.execute(query)).all():
                envelope = await self._bring_up(
                    session, row, plan, assignments.get(row.id, {}), trust, forced=row.id in above_reported
                )
                if envelope is not None:
                    sealed[row.id] = envelope
        await asyncio.gather(*(self._publish(device, envelope) for device, envelope in sealed.items()))
        return sorted(sealed)

    async def carried(self, devices: Collection[str], until: datetime) -> dict[str, bytes]:
        """The desired states of these devices for a way without a network: followed until then at least.

        It is the same envelope that is published online, so that no generation names two of them; one that
        expires earlier, or is not up to the plan, gives way to a new one.

        Args:
            devices: Whose.
            until: When the way ends.

        Returns:
            Device -> envelope; devices of which nothing is asked are left out.
        """
        trust = await asyncio.to_thread(self._trust)
        life_s = math.ceil((until - self._clock()).total_seconds())
        found: dict[str, bytes] = {}
        sealed: dict[str, bytes] = {}
        query = select(*_COLUMNS).where(DeviceRow.revoked_at.is_(None), DeviceRow.id.in_(devices))
        async with self._database.transaction() as session:
            plan, assignments = await load_plan(session), await load_assignments(session)
            for row in (await session.execute(query)).all():
                given = assignments.get(row.id, {})
                if desired_content(row.labels, plan, given).is_empty:
                    continue
                lasts = _expires_at(row) >= until.timestamp()
                envelope = await self._bring_up(
                    session, row, plan, given, trust, forced=not lasts, life_s=life_s
                )
                if envelope is not None:
                    sealed[row.id] = envelope
                found[row.id] = envelope or row.desired_envelope
        await asyncio.gather(*(self._publish(device, envelope) for device, envelope in sealed.items()))
        return found

    async def heal(self, device: str, mark: GenerationMark | None) -> None:
        """Answer a report: publish again what the device does not have, or allocate above what it has.

        Args:
            device: Who reported.
            mark: The desired state that it accepted last.
        """
        query = select(
            DeviceRow.desired_epoch,
            DeviceRow.desired_number,
            DeviceRow.desired_sha256,
            DeviceRow.desired_envelope,
        ).where(DeviceRow.id == device)
        async with self._database.session() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None or row.desired_envelope is None:
            return
        stored = GenerationMark(
            generation=Generation(epoch=row.desired_epoch, number=row.desired_number),
            sha256=row.desired_sha256,
        )
        verdict = compare(mark, stored)
        if verdict == "same" or not self._may_heal(device):
            return
        if verdict == "newer":
            await self._publish(device, row.desired_envelope)
            return
        held = "nothing" if mark is None else str(mark.generation)
        trust = await asyncio.to_thread(self._trust)
        if mark is not None and mark.generation.epoch > trust.epoch:
            # No number of this epoch is above it: the repository has to be restored, or the epoch raised.
            log.error("epoch_behind", device=device, device_has=held, epoch=trust.epoch)
            return
        log.warning("generation_lost", device=device, device_has=held, stored=str(stored.generation))
        await self.refresh([device], above_reported=[device])

    async def sweep(self) -> list[str]:
        """Look at the whole fleet: a new epoch, a change that was missed, a state that expires soon.

        Devices that are online and still have not accepted their desired state get it again.

        Returns:
            The devices whose desired state is new.
        """
        renewed = await self.refresh()
        query = select(
            DeviceRow.id, DeviceRow.desired_envelope, DeviceRow.desired_sha256, DeviceRow.reported["desired"]
        ).where(DeviceRow.online.is_(True), DeviceRow.desired_envelope.is_not(None))
        async with self._database.session() as session:
            rows = (await session.execute(query)).all()
        for device, envelope, sha256, mark in rows:
            if device not in renewed and (mark is None or mark["sha256"] != sha256):
                await self._publish(device, envelope)
        return renewed

    async def _bring_up(
        self,
        session: AsyncSession,
        row: Any,
        plan: FleetPlan,
        assignments: Mapping[str, AssignmentView],
        trust: TrustState,
        *,
        forced: bool,
        life_s: int | None = None,
    ) -> bytes | None:
        content = desired_content(row.labels, plan, assignments)
        digest = content.sha256(trust.epoch)
        if not forced and not self._is_due(row, content, digest):
            return None
        generation = _next_generation(row, trust.epoch)
        payload, envelope = self._director.desired(
            row.id,
            generation,
            slots=content.slots,
            configs=content.configs,
            labels=content.labels,
            minimum_versions=_minimum_versions(content, trust.versions),
            life_s=life_s,
        )
        await session.execute(
            update(DeviceRow)
            .where(DeviceRow.id == row.id)
            .values(
                desired_epoch=generation.epoch,
                desired_number=generation.number,
                desired_sha256=hashlib.sha256(payload).hexdigest(),
                desired_content_sha256=digest,
                desired_envelope=envelope,
            )
        )
        log.info("desired_allocated", device=row.id, generation=str(generation))
        return envelope

    def _is_due(self, row: Any, content: DesiredContent, digest: str) -> bool:
        if row.desired_envelope is None:
            return not content.is_empty
        if digest != row.desired_content_sha256:
            return True
        try:
            issued_at = decode_desired(parse(row.desired_envelope).payload).issued_at
        except ProtocolError as error:
            # Of another version of this program, or decayed: a new one takes its place.
            log.warning("desired_unreadable", device=row.id, error=str(error))
            return True
        return self._clock().timestamp() >= issued_at + self._settings.desired_renewal_s

    def _may_heal(self, device: str) -> bool:
        now = self._clock().timestamp()
        last = self._healed.get(device)
        if last is not None and 0 <= now - last < self._settings.heal_interval_s:
            return False
        self._healed[device] = now
        return True

    async def _publish(self, device: str, envelope: bytes) -> None:
        await self._outlet.send(device, "desired", envelope, retain=True)


def _expires_at(row: Any) -> int:
    """When a device's stored desired state expires, Unix seconds; 0 when there is none to be had."""
    if row.desired_envelope is None:
        return 0
    try:
        return decode_desired(parse(row.desired_envelope).payload).expires_at
    except ProtocolError:
        return 0


def _next_generation(row: Any, epoch: int) -> Generation:
    stored = Generation(epoch=row.desired_epoch, number=row.desired_number)
    reported = ZERO
    if row.reported_mark is not None:
        reported = Generation(**row.reported_mark["generation"])
    # Numbers go on rising over epochs; only what counts in this epoch has to be exceeded.
    numbers = [mark.number for mark in (stored, reported) if mark.epoch == epoch or mark == stored]
    return Generation(epoch=epoch, number=max(numbers) + 1)


def _minimum_versions(content: DesiredContent, versions: Mapping[str, int]) -> dict[str, int]:
    roles = {"targets", *(["models"] if content.slots else []), *(["configs"] if content.configs else [])}
    return {role: versions[role] for role in sorted(roles) if role in versions}

"""A device with a token becomes one of the fleet's: in one transaction, or not at all."""

import asyncio
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec
import structlog
from cryptography import x509
from sqlalchemy import select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.audit import note
from skerry_controller.clock import Clock
from skerry_controller.database import Database, DeviceRow, EnrollmentTokenRow
from skerry_controller.enrollment.errors import EnrollmentRefusedError
from skerry_controller.enrollment.first_files import RepositoryFiles, first_files
from skerry_controller.enrollment.tokens import secret_digest, token_state
from skerry_controller.errors import PeerError
from skerry_protocol.enrollment import EnrollmentRequest, EnrollmentResponse
from skerry_protocol.names import new_device_id
from skerry_protocol.signing import check_public, public_pem

log = structlog.get_logger(__name__)


class DeviceAuthority(Protocol):
    """The part of the authorities that enrollment needs."""

    def issue_device_certificate(self, csr_pem: bytes, device_id: str, *, now: datetime) -> bytes:
        """A client certificate (PEM); PeerError when the request is no good."""


class EnrollmentService:
    """Enrolls devices.

    The certificate takes nothing but the public key from the request: the id is assigned here. A device
    that repeats its request with the same key, because the answer was lost, gets the same id again and
    spends no second use.
    """

    def __init__(
        self,
        database: Database,
        authority: DeviceAuthority,
        repository: RepositoryFiles,
        clock: Clock,
        *,
        on_enrolled: Callable[[str], None] | None = None,
    ) -> None:
        """Set up the service.

        Args:
            database: Tokens and devices.
            authority: Issues the certificates.
            repository: Metadata for the device's first refresh.
            clock: Time.
            on_enrolled: Called with the id of each new device, after the commit.
        """
        self._database = database
        self._authority = authority
        self._repository = repository
        self._clock = clock
        self._on_enrolled = on_enrolled

    async def enroll(self, request: EnrollmentRequest) -> EnrollmentResponse:
        """Take the device into the fleet.

        Raises:
            EnrollmentRefusedError: The token cannot be used, or the signing request is no good.
            WorldError: Database or repository failed; nothing happened.
        """
        now = self._clock()
        digest = secret_digest(request.token_secret)
        # Strangers without a token get no further than one look into the database.
        async with self._database.session() as session:
            await _usable_token(session, digest, now)
        files = await asyncio.to_thread(first_files, self._repository)
        device = new_device_id()
        certificate = await self._issue(request, device, now)
        public_key = _public_key_pem(certificate)
        async with self._database.transaction() as session:
            token = await _usable_token(session, digest, now)
            known = await _known_device(session, token.id, public_key)
            if known is not None:
                return await self._again(session, known, request, files, now)
            await _spend(session, token)
            session.add(_device_row(device, token, public_key, certificate, request, now))
            note(
                session,
                at=now,
                actor=f"token:{token.id}",
                action="device_enrolled",
                subject=device,
                labels=token.labels,
                hostname=request.inventory.hostname,
            )
        log.info("device_enrolled", device=device, token=token.id)
        if self._on_enrolled is not None:
            self._on_enrolled(device)
        return EnrollmentResponse(device=device, certificate_pem=certificate, files=files)

    async def _again(
        self,
        session: AsyncSession,
        known: DeviceRow,
        request: EnrollmentRequest,
        files: dict[str, bytes],
        now: datetime,
    ) -> EnrollmentResponse:
        known.certificate_pem = await self._issue(request, known.id, now)
        note(session, at=now, actor=f"token:{known.token_id}", action="enrollment_repeated", subject=known.id)
        log.info("enrollment_repeated", device=known.id)
        return EnrollmentResponse(device=known.id, certificate_pem=known.certificate_pem, files=files)

    async def _issue(self, request: EnrollmentRequest, device: str, now: datetime) -> str:
        def issue() -> bytes:
            return self._authority.issue_device_certificate(request.csr_pem.encode(), device, now=now)

        try:
            certificate = await asyncio.to_thread(issue)
        except PeerError as error:
            raise EnrollmentRefusedError("csr_invalid", str(error)) from error
        return certificate.decode("ascii")


async def _usable_token(session: AsyncSession, digest: str, now: datetime) -> EnrollmentTokenRow:
    """The token; one whose uses are spent too, for the device that spent the last of them."""
    query = select(EnrollmentTokenRow).where(EnrollmentTokenRow.secret_sha256 == digest)
    row = await session.scalar(query)
    if row is None or not hmac.compare_digest(row.secret_sha256, digest):
        raise EnrollmentRefusedError(
            "token_unknown",
            "this controller did not make that enrollment token: check the address, or ask for a new token",
        )
    match token_state(row, now):
        case "revoked":
            raise EnrollmentRefusedError(
                "token_revoked", f"the enrollment token {row.id} was revoked: ask for a new one"
            )
        case "expired":
            raise EnrollmentRefusedError(
                "token_expired",
                f"the enrollment token {row.id} expired at {row.expires_at:%Y-%m-%d %H:%M} UTC: "
                "ask for a new one",
            )
        case _:
            return row


async def _known_device(session: AsyncSession, token_id: str, public_key: str) -> DeviceRow | None:
    return await session.scalar(
        select(DeviceRow).where(
            DeviceRow.token_id == token_id,
            DeviceRow.public_key_pem == public_key,
            DeviceRow.revoked_at.is_(None),
        )
    )


async def _spend(session: AsyncSession, token: EnrollmentTokenRow) -> None:
    # Conditional, so that it holds on databases where transactions run side by side.
    result = await session.execute(
        update(EnrollmentTokenRow)
        .where(EnrollmentTokenRow.id == token.id, EnrollmentTokenRow.uses_left > 0)
        .values(uses_left=EnrollmentTokenRow.uses_left - 1)
        .execution_options(synchronize_session=False)
    )
    if not isinstance(result, CursorResult) or result.rowcount != 1:
        raise EnrollmentRefusedError(
            "token_used_up", f"the enrollment token {token.id} was used up: ask for a new one"
        )


def _device_row(
    device: str,
    token: EnrollmentTokenRow,
    public_key: str,
    certificate: str,
    request: EnrollmentRequest,
    now: datetime,
) -> DeviceRow:
    return DeviceRow(
        id=device,
        enrolled_at=now,
        token_id=token.id,
        public_key_pem=public_key,
        certificate_pem=certificate,
        labels=dict(token.labels),
        inventory=msgspec.to_builtins(request.inventory),
    )


def _public_key_pem(certificate_pem: str) -> str:
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    return public_pem(check_public(certificate.public_key()))

import asyncio
from datetime import datetime
from typing import Protocol

import structlog
from cryptography import x509

from skerry_controller.audit import note
from skerry_controller.clock import Clock
from skerry_controller.database import Database, DeviceRow
from skerry_controller.director import Director
from skerry_controller.errors import PeerError
from skerry_controller.fleet import UnknownDeviceError
from skerry_protocol.signing import check_public, public_pem

log = structlog.get_logger(__name__)


class DeviceAuthority(Protocol):
    """The part of the authorities that renewal needs."""

    def issue_device_certificate(self, csr_pem: bytes, device_id: str, *, now: datetime) -> bytes:
        """A client certificate (PEM); PeerError when the request is no good."""


class Renewals:
    """Renews devices' certificates. A device keeps its key: a new key is a new enrollment."""

    def __init__(
        self, database: Database, authority: DeviceAuthority, director: Director, clock: Clock
    ) -> None:
        self._database = database
        self._authority = authority
        self._director = director
        self._clock = clock

    async def renew(self, device: str, request: str, csr_pem: str) -> bytes:
        """The ``certificate`` envelope for a device whose signature was checked.

        Raises:
            PeerError: The signing request is no good, or is for another key than the device's.
        """
        now = self._clock()
        certificate = await asyncio.to_thread(
            self._authority.issue_device_certificate, csr_pem.encode(), device, now=now
        )
        text = certificate.decode("ascii")
        key = public_pem(check_public(x509.load_pem_x509_certificate(certificate).public_key()))
        async with self._database.transaction() as session:
            row = await session.get(DeviceRow, device)
            if row is None:
                raise UnknownDeviceError(f"{device} is not enrolled here")
            if row.public_key_pem != key:
                raise PeerError("a renewal keeps the device's key: enroll again to have another one")
            row.certificate_pem = text
            note(session, at=now, actor=f"device:{device}", action="certificate_renewed", subject=device)
        log.info("certificate_renewed", device=device)
        return self._director.certificate(device, request, text)

"""What has to be signed anew from time to time while the controller runs."""

import asyncio
import ssl

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from skerry_controller.authorities import KeyPair
from skerry_controller.broker import BrokerMaterial, ManagedBroker
from skerry_controller.errors import ControllerError
from skerry_controller.serve.certificates import ServerCertificate
from skerry_controller.serve.core import Core

log = structlog.get_logger(__name__)

_CERTIFICATE_CHECK_S = 6 * 3600


def broker_material(core: Core, server: KeyPair) -> BrokerMaterial:
    """The broker's TLS files."""
    return BrokerMaterial(clients_authority_pem=core.authorities.devices.certificate_pem, server=server)


class Upkeep:
    """Scheduled jobs. A failure is logged and tried again at the next turn; the service goes on."""

    def __init__(
        self, core: Core, certificate: ServerCertificate, tls: ssl.SSLContext, broker: ManagedBroker
    ) -> None:
        self._core = core
        self._certificate = certificate
        self._tls = tls
        self._broker = broker

    async def run(self) -> None:
        """Run the jobs until cancelled."""
        scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        interval_s = self._core.settings.repository.refresh_interval_s
        scheduler.add_job(self.refresh_repository, "interval", seconds=interval_s)
        scheduler.add_job(self.renew_certificate, "interval", seconds=_CERTIFICATE_CHECK_S)
        scheduler.start()
        try:
            await asyncio.Event().wait()
        finally:
            scheduler.shutdown(wait=False)

    async def refresh_repository(self) -> None:
        """Sign timestamp and snapshot anew when they are close to expiry."""
        try:
            await asyncio.to_thread(self._core.repository.refresh_timestamp, self._core.clock())
        except ControllerError as error:
            log.warning("repository_refresh_failed", message=str(error))

    async def renew_certificate(self) -> None:
        """Issue the server's certificate anew in time, and hand it to listener and broker; sessions go on."""
        try:
            if not await asyncio.to_thread(self._certificate.ensure, self._core.clock()):
                return
            self._certificate.load_into(self._tls)
            await self._broker.reload(broker_material(self._core, self._certificate.pair()))
        except ControllerError as error:
            log.warning("certificate_renewal_failed", message=str(error))

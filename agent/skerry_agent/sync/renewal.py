"""Renews the device's certificate over MQTT when two thirds of its life are over."""

import asyncio

import structlog

from skerry_agent.backoff import full_jitter
from skerry_agent.errors import AgentError
from skerry_agent.events import EventSink
from skerry_agent.sync.limits import SyncLimits
from skerry_agent.sync.ports import CertificateHolder, TrustedClock
from skerry_agent.sync.requester import Requester

log = structlog.get_logger(__name__)

_FIRST_RETRY_S = 60.0


class Renewal:
    """Looks every ``renewal_check_s`` whether it is time, and renews. The session goes on as it is.

    Args:
        holder: The certificate.
        requester: Asks the controller.
        events: Told of the new certificate.
        clock: Trusted time.
        limits: Times.
    """

    def __init__(
        self,
        holder: CertificateHolder,
        requester: Requester,
        events: EventSink,
        clock: TrustedClock,
        limits: SyncLimits,
    ) -> None:
        self._holder = holder
        self._requester = requester
        self._events = events
        self._clock = clock
        self._limits = limits

    async def run(self) -> None:
        """Renew in time; never returns."""
        failures = 0
        while True:
            failures = 0 if await self.check() else failures + 1
            pause_s = self._limits.renewal_check_s
            if failures:
                pause_s = min(_FIRST_RETRY_S, pause_s) + full_jitter(failures - 1, _FIRST_RETRY_S, pause_s)
            await asyncio.sleep(pause_s)

    async def check(self) -> bool:
        """Renew if it is time; False when that failed and should be tried again soon."""
        if not self._holder.renewal_due(self._clock.now()):
            return True
        try:
            csr = await asyncio.to_thread(self._holder.new_csr)
            certificate = await self._requester.renew(csr)
            await asyncio.to_thread(self._holder.install_certificate, certificate.certificate_pem)
        except AgentError as error:
            log.warning("certificate_renewal_failed", error=str(error))
            return False
        self._clock.raise_floor(certificate.issued_at, "renewed certificate")
        await self._events.emit("certificate_renewed", audit=True)
        return True

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from skerry_controller.clock import Clock
from skerry_controller.director import Director
from skerry_protocol.trust_document import TrustDocument


class CapabilityMaker(Protocol):
    """Makes permissions to read one blob over HTTPS."""

    def make(self, sha256: str, device: str, expires_at: datetime) -> str:
        """The permission for ``device`` to read the blob ``sha256`` until then."""


class CapabilityAnswers:
    """Hands out the addresses of a blob at the device listener."""

    def __init__(
        self,
        director: Director,
        maker: CapabilityMaker,
        trust: Callable[[], TrustDocument],
        clock: Clock,
        *,
        life_s: int,
    ) -> None:
        """Set up.

        Args:
            director: Seals the answer.
            maker: Makes the capabilities.
            trust: The current trust document; its addresses are the ones that devices believe. Blocking.
            clock: Time.
            life_s: How long an address works, in seconds.
        """
        self._director = director
        self._maker = maker
        self._trust = trust
        self._clock = clock
        self._life_s = life_s

    async def seal(self, device: str, request: str, sha256: str) -> bytes:
        """The ``capability`` envelope for a device that asked."""
        trust = await asyncio.to_thread(self._trust)
        expires_at = self._clock() + timedelta(seconds=self._life_s)
        token = self._maker.make(sha256, device, expires_at)
        return self._director.capability(
            device,
            request,
            sha256,
            urls=[f"{url.rstrip('/')}/v1/blobs/{sha256}?capability={token}" for url in trust.controller_urls],
            expires_at=int(expires_at.timestamp()),
            authority_pem="".join(trust.authorities.servers),
        )

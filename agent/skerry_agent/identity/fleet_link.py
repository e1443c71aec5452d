"""How this device proves itself to its fleet's servers, and knows them: identity and trust document."""

import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from skerry_agent.identity.device_identity import Identity
from skerry_agent.identity.tls import check_peer_dates
from skerry_agent.trust import TrustedTime, TrustStore
from skerry_protocol.trust_document import Address, parse_url

DEFAULT_BROKER_PORT = 8883


class FleetLink:
    """Addresses, TLS and certificate renewal, always by the newest trust document."""

    def __init__(self, identity: Identity, trust: TrustStore, time: TrustedTime) -> None:
        self._identity = identity
        self._trust = trust
        self._time = time

    @property
    def device(self) -> str:
        """The device's id."""
        return self._identity.device

    @property
    def topic_root(self) -> str:
        """What stands before all MQTT topics."""
        return self._trust.trust_document.topic_root

    def addresses(self) -> Sequence[Address]:
        """The brokers, in the order in which to try them."""
        urls = self._trust.trust_document.broker_urls
        return [parse_url(url, "mqtts", DEFAULT_BROKER_PORT) for url in urls]

    def tls_context(self) -> ssl.SSLContext:
        """A new context for mutual TLS. Blocks.

        Raises:
            PeerError: The trust document names an authority that is not a certificate.
            WorldError: The device's key or certificate cannot be read.
        """
        return self._identity.tls_context(self._trust.trust_document.authorities.servers)

    def check_peer(self, certificate: Mapping[str, Any]) -> None:
        """Judge a server's certificate by trusted time, right after the handshake.

        Raises:
            PeerError: It has expired, or has no dates.
        """
        check_peer_dates(certificate, self._time)

    def renewal_due(self, now: float) -> bool:
        """Whether two thirds of the device certificate's life are over at ``now``, Unix seconds."""
        return self._identity.renewal_due(now)

    def new_csr(self) -> str:
        """A certificate signing request (PEM) for a renewal."""
        return self._identity.new_csr()

    def install_certificate(self, pem: str) -> None:
        """Check a renewed certificate against the trust document and keep it. Blocks.

        Raises:
            PeerError: It cannot be this device's next certificate.
            WorldError: The disk refused.
        """
        issuers = self._trust.trust_document.authorities.devices
        self._identity.install_certificate(pem, issuers, self._time.now())

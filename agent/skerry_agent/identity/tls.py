"""TLS towards the controller and the broker, on a device whose clock cannot be believed.

OpenSSL judges certificates by the system clock, which may say 1970. So its time check is switched off, and
:func:`check_peer_dates` judges the peer's certificate by trusted time instead, right after the handshake and
before anything is sent. Chain, signatures, purpose and host name are checked by OpenSSL as always. How long
the authorities themselves hold is decided by the trust document that names them.
"""

import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skerry_agent.errors import PeerError
from skerry_agent.trust import TrustedTime

_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME (``openssl/x509_vfy.h``); Python has no name for it."""


def client_context(
    authorities_pem: Sequence[str], *, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """A client's context that believes these authorities and no others, at any time.

    Whoever uses it calls :func:`check_peer_dates` after each handshake.

    Args:
        authorities_pem: Certificates of authorities, PEM.
        certificate: The client's own certificate chain, for mutual TLS.
        key: Its private key.

    Raises:
        PeerError: An authority is not a certificate.
        OSError: Certificate or key cannot be read or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata="\n".join(authorities_pem))
    except (ssl.SSLError, ValueError) as error:
        raise PeerError("the fleet's server authorities are not certificates in PEM form") from error
    context.hostname_checks_common_name = False
    context.verify_flags |= _NO_CHECK_TIME
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def unverified_context() -> ssl.SSLContext:
    """A context that believes anybody: only for what is checked by its hash afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_peer_dates(peer: Mapping[str, Any], time: TrustedTime) -> None:
    """Judge a verified peer certificate by trusted time.

    Trusted time is never later than the real time, as far as the device can know. So a certificate that
    begins later than now shows how late it is at least: it lifts the floor of trusted time.

    A certificate that has expired by trusted time may still hold by the system clock: somebody with a stolen
    key may have lifted the floor far ahead. It is accepted then, or nobody could bring the trust document
    that resets the floor. That proves nothing else: what comes is verified by trusted time.

    Args:
        peer: What ``SSLSocket.getpeercert()`` returns.
        time: Trusted time.

    Raises:
        PeerError: The certificate has expired, begins beyond the bound of trusted time, or has no dates.
    """
    try:
        begins = ssl.cert_time_to_seconds(peer["notBefore"])
        ends = ssl.cert_time_to_seconds(peer["notAfter"])
    except (KeyError, TypeError, ValueError) as error:
        raise PeerError("the server's certificate has no readable dates") from error
    time.raise_floor(begins, "certificate")
    now = time.now()
    if now > ends and not _holds_by_clock(begins, ends, time):
        raise PeerError(
            f"the server's certificate expired at {_text(ends)}, and this device's time is {_text(now)}:"
            " renew it at the controller, or set the clock if it is wrong"
        )
    if now < begins:
        raise PeerError(
            f"the server's certificate begins at {_text(begins)}, and it is {_text(now)}: check both clocks"
        )


def _holds_by_clock(begins: float, ends: float, time: TrustedTime) -> bool:
    clock = time.clock_since_anchor()
    return clock is not None and begins <= clock <= ends


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")

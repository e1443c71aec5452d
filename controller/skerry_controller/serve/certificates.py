"""The controller's own certificates: kept in the data folder, issued anew in time or when names change."""

import ipaddress
import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from skerry_controller.authorities import Authorities, KeyPair, needs_renewal
from skerry_controller.durable_files import make_private_folder, read_file, write_durably
from skerry_protocol.trust_document import TrustDocument, parse_url

log = structlog.get_logger(__name__)

_LOCAL_NAMES = ("localhost", "127.0.0.1")
Purpose = Literal["server", "controller"]


def server_names(trust: TrustDocument, further: Sequence[str]) -> tuple[str, ...]:
    """All names under which devices reach this controller."""
    urls = [(url, "https") for url in trust.controller_urls] + [(url, "mqtts") for url in trust.broker_urls]
    hosts = [parse_url(url, scheme, 0).host for url, scheme in urls]
    return tuple(dict.fromkeys([*hosts, *further, *_LOCAL_NAMES]))


class OwnCertificates:
    """The TLS server's certificate (device listener and broker), and the client's for the MQTT session."""

    def __init__(self, folder: Path, authorities: Authorities, names: Sequence[str]) -> None:
        self._folder = folder
        self._authorities = authorities
        self._names = tuple(names)

    def ensure(self, now: datetime) -> bool:
        """Issue what is missing, close to its end, or for other names. Blocking.

        Returns:
            Whether anything is new.

        Raises:
            UsageError: A name is neither a host name nor an address.
            WorldError: The disk refused.
        """
        make_private_folder(self._folder)
        renewed = False
        if not self._is_good(
            self._load("server"), self._authorities.servers.certificate_pem, now, self._names
        ):
            self._save("server", self._authorities.issue_server_certificate(self._names, now=now))
            renewed = True
        if not self._is_good(self._load("controller"), self._authorities.devices.certificate_pem, now, ()):
            self._save("controller", self._authorities.issue_controller_certificate(now=now))
            renewed = True
        if renewed:
            log.info("certificates_issued", names=self._names)
        return renewed

    def pair(self, purpose: Purpose) -> KeyPair:
        """The certificate and key, after :meth:`ensure`.

        Raises:
            RuntimeError: They were not ensured.
        """
        pair = self._load(purpose)
        if pair is None:
            raise RuntimeError(f"the {purpose} certificate was not ensured")
        return pair

    def load_into(self, context: ssl.SSLContext, purpose: Purpose) -> None:
        """Make the context use the current certificate for new connections."""
        context.load_cert_chain(self._folder / f"{purpose}.crt", self._folder / f"{purpose}.key")

    def _is_good(
        self, pair: KeyPair | None, authority_pem: bytes, now: datetime, names: Sequence[str]
    ) -> bool:
        if pair is None or now < pair.certificate.not_valid_before_utc:
            return False
        try:
            pair.certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority_pem))
        except (ValueError, TypeError, InvalidSignature):
            return False
        return not needs_renewal(pair.certificate, now) and set(names) <= set(_names_in(pair.certificate))

    def _load(self, purpose: Purpose) -> KeyPair | None:
        certificate = read_file(self._folder / f"{purpose}.crt")
        key = read_file(self._folder / f"{purpose}.key")
        if certificate is None or key is None:
            return None
        try:
            pair = KeyPair(certificate, key)
            _ = pair.certificate
        except ValueError:
            return None
        return pair

    def _save(self, purpose: Purpose, pair: KeyPair) -> None:
        # The key first: with the former certificate it does not match, which the next start would notice
        # only when it loads them, so the certificate goes away in between.
        (self._folder / f"{purpose}.crt").unlink(missing_ok=True)
        write_durably(self._folder / f"{purpose}.key", pair.key_pem)
        write_durably(self._folder / f"{purpose}.crt", pair.certificate_pem)


def _names_in(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(ipaddress.ip_address(str(each))) for each in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]

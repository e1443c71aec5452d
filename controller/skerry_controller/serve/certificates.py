"""The server's own certificate: kept in the data folder, issued anew in time or when names change."""

import ipaddress
import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from skerry_controller.authorities import Authorities, KeyPair, needs_renewal
from skerry_controller.durable_files import make_private_folder, read_file, write_durably
from skerry_protocol.trust_document import TrustDocument, parse_url

log = structlog.get_logger(__name__)

_LOCAL_NAMES = ("localhost", "127.0.0.1")


def server_names(trust: TrustDocument, further: Sequence[str]) -> tuple[str, ...]:
    """All names under which devices reach this controller."""
    urls = [(url, "https") for url in trust.controller_urls] + [(url, "mqtts") for url in trust.broker_urls]
    hosts = [parse_url(url, scheme, 0).host for url, scheme in urls]
    return tuple(dict.fromkeys([*hosts, *further, *_LOCAL_NAMES]))


class ServerCertificate:
    """The certificate of the device listener and of the broker."""

    def __init__(self, folder: Path, authorities: Authorities, names: Sequence[str]) -> None:
        self._folder = folder
        self._certificate = folder / "server.crt"
        self._key = folder / "server.key"
        self._authorities = authorities
        self._names = tuple(names)

    def ensure(self, now: datetime) -> bool:
        """Issue it when it is missing, close to its end, or for other names. Blocking.

        Returns:
            Whether it is new.

        Raises:
            UsageError: A name is neither a host name nor an address.
            WorldError: The disk refused.
        """
        make_private_folder(self._folder)
        if self._is_good(self._load(), now):
            return False
        self._save(self._authorities.issue_server_certificate(self._names, now=now))
        log.info("certificate_issued", names=self._names)
        return True

    def pair(self) -> KeyPair:
        """The certificate and key, after :meth:`ensure`.

        Raises:
            RuntimeError: They were not ensured.
        """
        pair = self._load()
        if pair is None:
            raise RuntimeError("the server's certificate was not ensured")
        return pair

    def load_into(self, context: ssl.SSLContext) -> None:
        """Make the context use the current certificate for new connections."""
        context.load_cert_chain(self._certificate, self._key)

    def _is_good(self, pair: KeyPair | None, now: datetime) -> bool:
        if pair is None or now < pair.certificate.not_valid_before_utc:
            return False
        try:
            pair.certificate.verify_directly_issued_by(
                x509.load_pem_x509_certificate(self._authorities.servers.certificate_pem)
            )
        except (ValueError, TypeError, InvalidSignature):
            return False
        return not needs_renewal(pair.certificate, now) and set(self._names) <= set(
            _names_in(pair.certificate)
        )

    def _load(self) -> KeyPair | None:
        certificate, key = read_file(self._certificate), read_file(self._key)
        if certificate is None or key is None:
            return None
        try:
            pair = KeyPair(certificate, key)
            _ = pair.certificate
        except ValueError:
            return None
        return pair

    def _save(self, pair: KeyPair) -> None:
        # The key first: with the former certificate it does not match, which the next start would notice
        # only when it loads them, so the certificate goes away in between.
        self._certificate.unlink(missing_ok=True)
        write_durably(self._key, pair.key_pem)
        write_durably(self._certificate, pair.certificate_pem)


def _names_in(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(ipaddress.ip_address(str(each))) for each in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]

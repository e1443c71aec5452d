"""The two authorities, their files, and what they issue."""

import stat
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from skerry_controller.authorities.certificates import (
    Issuer,
    KeyPair,
    Validity,
    certificate_pem,
    client_certificate,
    key_pem,
    new_key,
    revocation_list,
    self_signed_authority,
    server_certificate,
)
from skerry_controller.authorities.settings import AuthoritySettings
from skerry_controller.durable_files import make_private_folder, read_file, write_durably
from skerry_controller.errors import PeerError, UsageError, WorldError
from skerry_protocol.names import CONTROLLER_NAME, check_device

_NAMES = ("servers", "devices")


class Authority:
    """One certificate authority. Its private key stays in here."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    @property
    def issuer(self) -> Issuer:
        """Certificate and key, for issuing."""
        return self._issuer

    @property
    def certificate_pem(self) -> bytes:
        """The authority's certificate, for the trust document and for TLS."""
        return certificate_pem(self._issuer.certificate)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER certificate, lower-case hex."""
        return self._issuer.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def expires(self) -> datetime:
        """When the authority itself ends."""
        return self._issuer.certificate.not_valid_after_utc


class Authorities:
    """The fleet's two authorities: ``servers`` and ``devices``."""

    def __init__(self, servers: Authority, devices: Authority, settings: AuthoritySettings) -> None:
        self.servers = servers
        self.devices = devices
        self._settings = settings

    @classmethod
    def create(cls, folder: Path, *, now: datetime, settings: AuthoritySettings | None = None) -> Self:
        """Make both authorities in ``folder`` (``data/authorities``); keys get mode 0600.

        Raises:
            UsageError: There are authorities already.
            WorldError: The disk refused.
        """
        settings = settings or AuthoritySettings()
        make_private_folder(folder)
        if any(folder.glob("*.key")):
            raise UsageError(f"{folder} has authorities already: a controller was set up there")
        validity = Validity.of(now, settings.authority_days, settings.backdate_s)
        made = [
            self_signed_authority(f"skerry {name} authority", validity) for name in ("servers", "devices")
        ]
        for name, issuer in zip(_NAMES, made, strict=True):
            write_durably(folder / f"{name}.crt", certificate_pem(issuer.certificate))
            write_durably(folder / f"{name}.key", key_pem(issuer.key))
        servers, devices = map(Authority, made)
        return cls(servers, devices, settings)

    @classmethod
    def open(cls, folder: Path, *, settings: AuthoritySettings | None = None) -> Self:
        """Load both authorities.

        Raises:
            UsageError: They are missing, or others than the owner can read a key.
            WorldError: They are damaged.
        """
        servers, devices = _load(folder, "servers"), _load(folder, "devices")
        return cls(Authority(servers), Authority(devices), settings or AuthoritySettings())

    def issue_server_certificate(self, names: Sequence[str], *, now: datetime) -> KeyPair:
        """A new key and certificate for a TLS server of the controller.

        Args:
            names: Host names and IP addresses that clients use.
            now: Current time.

        Raises:
            UsageError: There is no name, or one is neither a host name nor an address.
        """
        key = new_key()
        validity = Validity.of(now, self._settings.server_days, self._settings.backdate_s)
        certificate = server_certificate(self.servers.issuer, key.public_key(), names, validity)
        return KeyPair(certificate_pem(certificate), key_pem(key))

    def issue_controller_certificate(self, *, now: datetime) -> KeyPair:
        """A new key and client certificate for the controller's own MQTT session."""
        key = new_key()
        validity = Validity.of(now, self._settings.controller_days, self._settings.backdate_s)
        certificate = client_certificate(self.devices.issuer, key.public_key(), CONTROLLER_NAME, validity)
        return KeyPair(certificate_pem(certificate), key_pem(key))

    def issue_device_certificate(self, csr_pem: bytes, device_id: str, *, now: datetime) -> bytes:
        """A client certificate (PEM) for a device's key.

        Of the request only the public key is used: the controller assigns the name, and grants
        client authentication and nothing else.

        Raises:
            PeerError: The request is malformed, its signature is wrong, or its key is not P-256.
            NameSyntaxError: ``device_id`` breaks the grammar (so it cannot be the controller's name).
        """
        check_device(device_id)
        key = _requested_key(csr_pem, self._settings.max_csr_bytes)
        validity = Validity.of(now, self._settings.device_days, self._settings.backdate_s)
        return certificate_pem(client_certificate(self.devices.issuer, key, device_id, validity))

    def device_revocations(self, serial_numbers: Iterable[int], *, now: datetime) -> bytes:
        """The revocation list (PEM) of the devices authority, for the broker.

        Args:
            serial_numbers: Of all revoked certificates, those of earlier lists included.
            now: Current time.
        """
        return revocation_list(self.devices.issuer, serial_numbers, now)


def _requested_key(csr_pem: bytes, max_bytes: int) -> ec.EllipticCurvePublicKey:
    if len(csr_pem) > max_bytes:
        raise PeerError(f"the certificate signing request has {len(csr_pem)} bytes; the limit is {max_bytes}")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
    except Exception as error:
        # The parser's errors are many (ValueError, UnsupportedAlgorithm, …), and the bytes are a stranger's.
        raise PeerError("not a certificate signing request in PEM form with a P-256 key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PeerError("the certificate signing request's key is not P-256: make a new key on the device")
    if not request.is_signature_valid:
        raise PeerError("the certificate signing request is not signed by its own key")
    return key


def _load(folder: Path, name: str) -> Issuer:
    certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_bytes, key_bytes = read_file(certificate_path), read_file(key_path)
    if certificate_bytes is None or key_bytes is None:
        raise UsageError(f"the {name} authority is not in {folder}: run 'skerry init', or restore a backup")
    if stat.S_IMODE(key_path.stat().st_mode) & 0o077:
        raise UsageError(f"others can read {key_path}: run 'chmod 600 {key_path}'")
    try:
        certificate = x509.load_pem_x509_certificate(certificate_bytes)
        key = serialization.load_pem_private_key(key_bytes, None)
    except (ValueError, TypeError) as error:
        raise WorldError(f"the {name} authority in {folder} is damaged: restore a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise WorldError(f"{certificate_path} and {key_path} do not belong together: restore a backup")
    return Issuer(certificate, key)

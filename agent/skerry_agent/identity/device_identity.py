"""Who this device is: key, certificate, and the enrollment that they come from.

``identity/`` holds ``device.key`` (PKCS 8, mode 0600), ``certificate.pem`` and ``enrollment.json``. It
appears as a whole, by a rename, when an enrollment is complete; so a device is enrolled or it is not.

A renewed certificate is for the same key. A new key would replace the device's signing key under everything
that it has signed and not yet delivered, needs two files to change at once, and gains nothing while both lie
on the same disk. A key that others may know is ended by revoking the device and enrolling it again.
"""

import shutil
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from skerry_agent.durable import write_atomic
from skerry_agent.errors import PeerError, WorldError
from skerry_agent.identity.certificates import (
    belongs_to,
    check_device_certificate,
    common_name,
    parse_certificate,
    to_pem,
)
from skerry_agent.identity.device_key import load_key, signing_request
from skerry_agent.identity.tls import client_context
from skerry_protocol.codec import Document
from skerry_protocol.names import check_device
from skerry_protocol.signing import KeySigner

KEY_FILE = "device.key"
CERTIFICATE_FILE = "certificate.pem"
ENROLLMENT_FILE = "enrollment.json"
_SPENT_SHARE_FOR_RENEWAL = 2 / 3


class Enrollment(Document, frozen=True):
    """What is remembered of an enrollment.

    Attributes:
        device: The id that the controller assigned.
        controller_url: Where this device enrolled. Where it connects to is in the trust document.
        authority_sha256: Of the controller's server authority then.
        root_sha256: Of the initial root that this device trusts.
        enrolled_at: Trusted time, Unix seconds.
    """

    device: str
    controller_url: str
    authority_sha256: str
    root_sha256: str
    enrolled_at: float


class Identity:
    """An enrolled device's identity."""

    def __init__(
        self,
        folder: Path,
        enrollment: Enrollment,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        certificate_pem: str,
    ) -> None:
        self._folder = folder
        self._key = key
        self._certificate = certificate
        self.enrollment = enrollment
        self.certificate_pem = certificate_pem
        self.signer = KeySigner(key)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read the identity; None when this device is not enrolled. Blocks.

        Raises:
            WorldError: There is one, but it is damaged or cannot be read.
        """
        _finish_swap(folder)
        if not folder.is_dir():
            return None
        advice = f"restore {folder} from a backup, or move it away and enroll this device again"
        try:
            enrollment = msgspec.json.decode((folder / ENROLLMENT_FILE).read_bytes(), type=Enrollment)
            check_device(enrollment.device)
            key = load_key(folder / KEY_FILE)
            pem = (folder / CERTIFICATE_FILE).read_text("ascii")
            certificate = parse_certificate(pem)
        except OSError as error:
            raise WorldError(
                f"cannot read this device's identity: {error.strerror}: {error.filename}; {advice}"
            ) from error
        except (ValueError, PeerError, WorldError) as error:
            raise WorldError(f"this device's identity is damaged: {error}; {advice}") from error
        if not belongs_to(certificate, key) or common_name(certificate) != enrollment.device:
            raise WorldError(f"this device's identity is damaged: its files do not belong together; {advice}")
        return cls(folder, enrollment, key, certificate, pem)

    @property
    def device(self) -> str:
        """The device's id."""
        return self.enrollment.device

    @property
    def expires_at(self) -> float:
        """When the certificate ends, Unix seconds."""
        return self._certificate.not_valid_after_utc.timestamp()

    def tls_context(self, server_authorities_pem: Sequence[str]) -> ssl.SSLContext:
        """A context for mutual TLS with this device's certificate, checking the peer's host name and chain.

        OpenSSL's time check is off: call :func:`check_peer_dates` after each handshake. Reads the key
        from disk. Ask for a new one after a renewal.

        Args:
            server_authorities_pem: The fleet's authorities for servers, from the trust document.

        Raises:
            PeerError: An authority is not a certificate.
            WorldError: Key or certificate cannot be read.
        """
        try:
            return client_context(
                server_authorities_pem,
                certificate=self._folder / CERTIFICATE_FILE,
                key=self._folder / KEY_FILE,
            )
        except OSError as error:
            raise WorldError(f"cannot use this device's certificate in {self._folder}: {error}") from error

    def renewal_due(self, now: float) -> bool:
        """Whether two thirds of the certificate's life are spent.

        Args:
            now: Trusted time, Unix seconds.
        """
        begins = self._certificate.not_valid_before_utc.timestamp()
        return now >= begins + (self.expires_at - begins) * _SPENT_SHARE_FOR_RENEWAL

    def is_expired(self, now: float) -> bool:
        """Whether the certificate has ended, so that only enrolling again helps.

        Args:
            now: Trusted time, Unix seconds.
        """
        return now >= self.expires_at

    def new_csr(self) -> str:
        """A certificate signing request (PEM) for a renewal, with the same key."""
        return signing_request(self._key)

    def install_certificate(self, pem: str, issuers_pem: Sequence[str], now: float) -> None:
        """Take a renewed certificate; afterwards it is durable. Blocks.

        Args:
            pem: The certificate, PEM.
            issuers_pem: The fleet's authorities for devices, from the trust document.
            now: Trusted time, Unix seconds.

        Raises:
            PeerError: It is not for this key and device, from another authority, expired, or ends before
                the one that is held.
            WorldError: The disk refused; the old one stays.
        """
        certificate = check_device_certificate(
            pem, key=self._key, device=self.device, issuers_pem=issuers_pem, now=now
        )
        if certificate.not_valid_after_utc < self._certificate.not_valid_after_utc:
            raise PeerError("the renewed certificate ends before the one that this device has")
        pem = to_pem(certificate)
        try:
            write_atomic(self._folder / CERTIFICATE_FILE, pem.encode())
        except OSError as error:
            raise WorldError(
                f"cannot store the renewed certificate in {self._folder}: {error.strerror}"
            ) from error
        self._certificate, self.certificate_pem = certificate, pem


def staging_folder(folder: Path) -> Path:
    """Where an enrollment is put together, beside the final folder."""
    return folder.with_name(f"{folder.name}.tmp")


def replaced_folder(folder: Path) -> Path:
    """Where the old identity stands for a moment while a new one takes its place."""
    return folder.with_name(f"{folder.name}.old")


def _finish_swap(folder: Path) -> None:
    """After a power cut between the two renames of a re-enrollment, the old identity still holds.

    After one behind them it does not, and its key has no reason to be here.
    """
    old = replaced_folder(folder)
    if not old.is_dir():
        return
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        return
    try:
        old.rename(folder)
    except OSError as error:
        raise WorldError(f"cannot give {old} its name {folder.name} again: {error.strerror}") from error

"""Checks on certificates: functions of values."""

from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from skerry_agent.errors import PeerError


def parse_certificate(pem: str) -> x509.Certificate:
    """Parse one certificate.

    Raises:
        PeerError: It is none.
    """
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise PeerError("not a certificate in PEM form") from error


def to_pem(certificate: x509.Certificate) -> str:
    """The certificate alone, whatever else stood in the text that it came from."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER form, lower-case hex: what a token pins."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def is_among(sha256: str, authorities_pem: Iterable[str]) -> bool:
    """Whether one of the authorities has this fingerprint."""
    return any(fingerprint(certificate) == sha256 for certificate in _parsable(authorities_pem))


def common_name(certificate: x509.Certificate) -> str:
    """The subject's only common name, or nothing."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def belongs_to(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    """Whether the certificate is for this key."""
    return _der(certificate.public_key()) == _der(key.public_key())


def check_device_certificate(
    pem: str,
    *,
    key: ec.EllipticCurvePrivateKey,
    device: str,
    issuers_pem: Sequence[str],
    now: float,
) -> x509.Certificate:
    """A certificate that this device may use.

    Args:
        pem: What the controller sent.
        key: The device's key.
        device: The device's id.
        issuers_pem: The fleet's authorities for devices, from the trust document.
        now: Trusted time, Unix seconds.

    Raises:
        PeerError: It is for another key or device, from another authority, or expired.
    """
    certificate = parse_certificate(pem)
    if not belongs_to(certificate, key):
        raise PeerError("the controller's certificate is for another key than this device's")
    if common_name(certificate) != device:
        raise PeerError(
            f"the controller's certificate is for {common_name(certificate)!r}, this device is {device}"
        )
    if not any(_issued_by(certificate, issuer) for issuer in _parsable(issuers_pem)):
        raise PeerError("the controller's certificate is not from an authority that the trust document names")
    if certificate.not_valid_after_utc.timestamp() <= now:
        raise PeerError(
            f"the controller's certificate expired at {certificate.not_valid_after_utc}: check the clocks"
        )
    return certificate


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _parsable(pems: Iterable[str]) -> list[x509.Certificate]:
    certificates = []
    for pem in pems:
        try:
            certificates.append(parse_certificate(pem))
        except PeerError:
            continue
    return certificates


def _der(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

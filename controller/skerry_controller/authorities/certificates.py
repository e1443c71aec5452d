"""Building certificates: functions of values. All keys are P-256, all signatures ECDSA with SHA-256."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skerry_controller.errors import UsageError

_NO_USAGE = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}
_SPENT_SHARE_FOR_RENEWAL = 2 / 3


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM. The key is unencrypted: write it with mode 0600."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate, parsed."""
        return x509.load_pem_x509_certificate(self.certificate_pem)


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate holds."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def of(cls, now: datetime, days: int, backdate_s: int) -> "Validity":
        """``days`` from now, and valid a little earlier for clocks that are behind."""
        return cls(now - timedelta(seconds=backdate_s), now + timedelta(days=days))


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority's certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def self_signed_authority(name: str, validity: Validity) -> Issuer:
    """A new authority that may sign end certificates only (path length 0; RFC 5280, 4.2.1.9)."""
    key = new_key()
    subject = common_name(name)
    certificate = (
        _builder(subject, subject, key.public_key(), validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issuer(certificate, key)


def server_certificate(
    issuer: Issuer, key: ec.EllipticCurvePublicKey, names: Sequence[str], validity: Validity
) -> x509.Certificate:
    """A certificate for a TLS server under the given DNS names and IP addresses.

    Raises:
        UsageError: There is no name, or one is neither a host name nor an address.
    """
    if not names:
        raise UsageError("a server certificate needs at least one host name or address")
    # The names stand in the extension; the subject's common name is limited to 64 characters.
    subject = common_name("skerry server")
    return (
        _end_certificate(issuer, subject, key, validity, ExtendedKeyUsageOID.SERVER_AUTH)
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def client_certificate(
    issuer: Issuer, key: ec.EllipticCurvePublicKey, name: str, validity: Validity
) -> x509.Certificate:
    """A certificate for a TLS client whose common name is its identity at the broker."""
    return _end_certificate(issuer, common_name(name), key, validity, ExtendedKeyUsageOID.CLIENT_AUTH).sign(
        issuer.key, hashes.SHA256()
    )


def revocation_list(issuer: Issuer, serial_numbers: Iterable[int], now: datetime) -> bytes:
    """A list (PEM) of certificates that hold no longer (RFC 5280, section 5).

    It is valid as long as its authority: brokers refuse everybody once their list has expired, which
    would turn a controller that was away for a while into an outage.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - timedelta(days=1))
        .next_update(issuer.certificate.not_valid_after_utc)
    )
    for number in sorted(set(serial_numbers)):
        revoked = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now).build()
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _end_certificate(
    issuer: Issuer,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    validity: Validity,
    usage: x509.ObjectIdentifier,
) -> x509.CertificateBuilder:
    # A certificate that outlives its authority would stop working without a warning.
    not_after = min(validity.not_after, issuer.certificate.not_valid_after_utc)
    bounded = Validity(validity.not_before, not_after)
    issuer_key_id = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(issuer.certificate.subject, subject, key, bounded)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key_id), critical=False
        )
    )


def _builder(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
    )


def _usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{**_NO_USAGE, **dict.fromkeys(allowed, True)})


def general_name(name: str) -> x509.GeneralName:
    """An IP address or a DNS name, as it stands in a certificate.

    Raises:
        UsageError: It is neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not _is_host_name(name):
        raise UsageError(f"{name!r} is neither a host name nor an IP address")
    return x509.DNSName(name)


def _is_host_name(name: str) -> bool:
    labels = name.removesuffix(".").split(".")
    return len(name) <= 253 and all(  # noqa: PLR2004 - RFC 1035, 2.3.4
        label.isascii()
        and label.replace("-", "").isalnum()
        and not label.startswith("-")
        and not label.endswith("-")
        and len(label) <= 63  # noqa: PLR2004 - the same
        for label in labels
    )


def common_name(name: str) -> x509.Name:
    """A distinguished name with a common name and nothing else."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as PEM, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def needs_renewal(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether two thirds of the certificate's life are spent."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= start + (end - start) * _SPENT_SHARE_FOR_RENEWAL

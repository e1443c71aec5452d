import hashlib
import ipaddress
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from skerry_controller.authorities import Authorities, AuthoritySettings, needs_renewal
from skerry_controller.errors import PeerError, UsageError, WorldError
from skerry_protocol.errors import NameSyntaxError

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DEVICE = "d-abcdefgh23456777"


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    return Authorities.create(tmp_path / "authorities", now=NOW)


def request(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, name: str = "anything"
) -> bytes:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("broker.example")]), critical=False)
        .sign(key, algorithm)
        .public_bytes(serialization.Encoding.PEM)
    )


def p256_request(name: str = "anything") -> bytes:
    return request(ec.generate_private_key(ec.SECP256R1()), name)


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def names_of(certificate: x509.Certificate) -> list[str | bytes]:
    return [attribute.value for attribute in certificate.subject]


def test_a_device_gets_its_assigned_name_and_nothing_that_it_asked_for(authorities: Authorities) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = authorities.issue_device_certificate(request(key, "skerry-controller"), DEVICE, now=NOW)
    certificate = x509.load_pem_x509_certificate(pem)
    assert names_of(certificate) == [DEVICE]
    assert certificate.public_key() == key.public_key()
    assert usages(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_device_certificate_holds_from_an_hour_ago_for_ninety_days(authorities: Authorities) -> None:
    pem = authorities.issue_device_certificate(p256_request(), DEVICE, now=NOW)
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.not_valid_before_utc == NOW - timedelta(hours=1)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=90)


@pytest.mark.parametrize("device", ["skerry-controller", "", "d-#", "d-abc/up", "+", "d-ABCDEFGH23456777"])
def test_a_name_that_is_no_device_id_is_refused(authorities: Authorities, device: str) -> None:
    with pytest.raises(NameSyntaxError):
        authorities.issue_device_certificate(p256_request(), device, now=NOW)


@pytest.mark.parametrize(
    "make",
    [
        lambda: request(ec.generate_private_key(ec.SECP384R1())),
        lambda: request(rsa.generate_private_key(65537, 2048)),
        lambda: request(ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["P-384", "RSA", "Ed25519"],
)
def test_only_p256_keys_are_certified(authorities: Authorities, make: Callable[[], bytes]) -> None:
    with pytest.raises(PeerError, match="P-256"):
        authorities.issue_device_certificate(make(), DEVICE, now=NOW)


def test_a_request_that_another_key_signed_is_refused(authorities: Authorities) -> None:
    # The signature covers the key, so an altered name breaks it.
    der = x509.load_pem_x509_csr(p256_request("aaaa")).public_bytes(serialization.Encoding.DER)
    altered = x509.load_der_x509_csr(der.replace(b"aaaa", b"bbbb")).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(PeerError, match="not signed by its own key"):
        authorities.issue_device_certificate(altered, DEVICE, now=NOW)


@pytest.mark.parametrize("junk", [b"", b"junk", b"\xff\x00", b"-----BEGIN CERTIFICATE REQUEST-----\nAA==\n"])
def test_junk_is_no_request(authorities: Authorities, junk: bytes) -> None:
    with pytest.raises(PeerError, match="not a certificate signing request"):
        authorities.issue_device_certificate(junk, DEVICE, now=NOW)


def test_an_endless_request_is_refused_unread(authorities: Authorities) -> None:
    with pytest.raises(PeerError, match="limit is 16384"):
        authorities.issue_device_certificate(p256_request() + b"\n" * 20_000, DEVICE, now=NOW)


def test_the_controller_has_a_name_that_no_device_can_have(authorities: Authorities) -> None:
    pair = authorities.issue_controller_certificate(now=NOW)
    assert names_of(pair.certificate) == ["skerry-controller"]
    assert usages(pair.certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_server_certificate_verifies_for_its_names_under_the_servers_authority_only(
    authorities: Authorities,
) -> None:
    pair = authorities.issue_server_certificate(["edge.example.org", "192.0.2.7", "::1"], now=NOW)

    def verify(authority_pem: bytes, subject: x509.GeneralName) -> None:
        store = Store([x509.load_pem_x509_certificate(authority_pem)])
        builder = PolicyBuilder().store(store).time(NOW)
        assert isinstance(subject, x509.DNSName | x509.IPAddress)
        builder.build_server_verifier(subject).verify(pair.certificate, [])

    verify(authorities.servers.certificate_pem, x509.DNSName("edge.example.org"))
    verify(authorities.servers.certificate_pem, x509.IPAddress(ipaddress.ip_address("192.0.2.7")))
    verify(authorities.servers.certificate_pem, x509.IPAddress(ipaddress.ip_address("::1")))
    with pytest.raises(x509.verification.VerificationError):
        verify(authorities.servers.certificate_pem, x509.DNSName("other.example.org"))
    with pytest.raises(x509.verification.VerificationError):
        verify(authorities.devices.certificate_pem, x509.DNSName("edge.example.org"))
    assert usages(pair.certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.parametrize("names", [[], [""], ["a b"], ["-x"], ["é.example"], ["x" * 64], ["*"], ["a..b"]])
def test_bad_server_names_are_refused(authorities: Authorities, names: list[str]) -> None:
    with pytest.raises(UsageError):
        authorities.issue_server_certificate(names, now=NOW)


def test_an_authority_cannot_make_further_authorities(authorities: Authorities) -> None:
    certificate = authorities.devices.issuer.certificate
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature


def test_no_certificate_outlives_its_authority(tmp_path: Path) -> None:
    settings = AuthoritySettings(authority_days=30, device_days=90)
    authorities = Authorities.create(tmp_path / "authorities", now=NOW, settings=settings)
    pem = authorities.issue_device_certificate(p256_request(), DEVICE, now=NOW)
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.not_valid_after_utc == authorities.devices.expires == NOW + timedelta(days=30)


def test_serial_numbers_are_not_repeated(authorities: Authorities) -> None:
    pems = [authorities.issue_device_certificate(p256_request(), DEVICE, now=NOW) for _ in range(5)]
    assert len({x509.load_pem_x509_certificate(pem).serial_number for pem in pems}) == 5


def test_the_fingerprint_is_the_hash_of_the_der_certificate(authorities: Authorities) -> None:
    der = x509.load_pem_x509_certificate(authorities.servers.certificate_pem).public_bytes(
        serialization.Encoding.DER
    )
    assert authorities.servers.fingerprint == hashlib.sha256(der).hexdigest()
    assert authorities.servers.fingerprint != authorities.devices.fingerprint


def test_reopened_authorities_are_the_same_and_private(tmp_path: Path, authorities: Authorities) -> None:
    opened = Authorities.open(tmp_path / "authorities")
    assert opened.servers.fingerprint == authorities.servers.fingerprint
    assert opened.devices.fingerprint == authorities.devices.fingerprint
    opened.issue_device_certificate(p256_request(), DEVICE, now=NOW)
    keys = [path for path in (tmp_path / "authorities").iterdir() if path.suffix == ".key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_existing_authorities_are_never_overwritten(tmp_path: Path, authorities: Authorities) -> None:
    with pytest.raises(UsageError, match="already"):
        Authorities.create(tmp_path / "authorities", now=NOW)
    assert Authorities.open(tmp_path / "authorities").devices.fingerprint == authorities.devices.fingerprint


def test_missing_swapped_damaged_or_open_files_are_named(tmp_path: Path, authorities: Authorities) -> None:
    folder = tmp_path / "authorities"
    with pytest.raises(UsageError, match="skerry init"):
        Authorities.open(tmp_path)
    (folder / "servers.key").chmod(0o644)
    with pytest.raises(UsageError, match="others can read"):
        Authorities.open(folder)
    (folder / "servers.key").chmod(0o600)
    (folder / "servers.crt").write_bytes(authorities.devices.certificate_pem)
    with pytest.raises(WorldError, match="do not belong together"):
        Authorities.open(folder)
    (folder / "servers.crt").write_bytes(b"junk")
    with pytest.raises(WorldError, match="damaged"):
        Authorities.open(folder)


def test_renewal_is_due_when_two_thirds_are_spent(authorities: Authorities) -> None:
    pair = authorities.issue_controller_certificate(now=NOW)
    assert not needs_renewal(pair.certificate, NOW + timedelta(days=59))
    assert needs_renewal(pair.certificate, NOW + timedelta(days=60))

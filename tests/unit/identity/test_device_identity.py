import stat
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from skerry_agent.errors import PeerError, WorldError
from skerry_agent.identity import Enrollment, Identity
from skerry_agent.identity.device_key import load_or_make_key, signing_request
from skerry_controller.authorities.certificates import Issuer, client_certificate, self_signed_authority
from skerry_protocol.signing import KeySet, is_valid
from support.enrollment_controller import DEVICE, Fleet, pem, validity
from support.tuf_repository import START

DAY = 86_400
NOW = START.timestamp()
DEVICES = self_signed_authority("devices", validity(days=3650))


def issue(
    identity_key: ec.EllipticCurvePrivateKey,
    *,
    days: float = 90,
    issuer: Issuer = DEVICES,
    name: str = DEVICE,
) -> str:
    return pem(client_certificate(issuer, identity_key.public_key(), name, validity(days=days)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "identity"
    folder.mkdir()
    key = load_or_make_key(folder / "device.key")
    (folder / "certificate.pem").write_text(issue(key))
    enrollment = Enrollment(
        device=DEVICE,
        controller_url="https://fleet.example:8601",
        authority_sha256="a" * 64,
        root_sha256="b" * 64,
        enrolled_at=NOW,
    )
    (folder / "enrollment.json").write_bytes(msgspec.json.encode(enrollment))
    return folder


@pytest.fixture
def identity(folder: Path) -> Identity:
    identity = Identity.load(folder)
    assert identity is not None
    return identity


def key_of(folder: Path) -> ec.EllipticCurvePrivateKey:
    return load_or_make_key(folder / "device.key")


def test_a_device_without_the_folder_is_not_enrolled(tmp_path: Path) -> None:
    assert Identity.load(tmp_path / "identity") is None


def test_the_signer_signs_with_the_device_key(identity: Identity) -> None:
    signature = identity.signer.sign(b"report")
    assert is_valid(identity.signer.public_key, signature, b"report")
    assert KeySet([identity.signer.public_key]).valid_signers(
        [(identity.signer.key_id, signature)], b"report"
    )


def test_a_key_that_others_could_read_is_closed(folder: Path) -> None:
    (folder / "device.key").chmod(0o644)
    Identity.load(folder)
    assert stat.S_IMODE((folder / "device.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["device.key", "certificate.pem", "enrollment.json"])
@pytest.mark.parametrize("content", [None, b"", b"rubbish", b"\xff\xfe"])
def test_a_damaged_identity_is_an_error_that_says_what_to_do(
    folder: Path, name: str, content: bytes | None
) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(WorldError, match="enroll this device again"):
        Identity.load(folder)


def test_a_certificate_for_another_key_is_an_error(folder: Path) -> None:
    (folder / "certificate.pem").write_text(issue(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(WorldError, match="do not belong together"):
        Identity.load(folder)


@pytest.mark.parametrize(("day", "due"), [(0, False), (59, False), (61, True), (100, True)])
def test_renewal_is_due_at_two_thirds_of_the_certificates_life(
    identity: Identity, day: int, due: bool
) -> None:
    assert identity.renewal_due(NOW + day * DAY) is due


def test_a_renewed_certificate_survives_a_restart(folder: Path, identity: Identity) -> None:
    renewed = Fleet(devices=DEVICES).issue(identity.new_csr(), valid=validity(days=180))
    identity.install_certificate(renewed, [pem(DEVICES.certificate)], NOW)
    assert not identity.renewal_due(NOW + 100 * DAY)
    again = Identity.load(folder)
    assert again is not None
    assert again.certificate_pem == renewed
    assert again.signer.key_id == identity.signer.key_id


def wrong_certificate(kind: str, key: ec.EllipticCurvePrivateKey) -> str:
    match kind:
        case "another key":
            return issue(ec.generate_private_key(ec.SECP256R1()))
        case "another device":
            return issue(key, name="d-zzzzzzzzzzzzzzzz")
        case "another authority" | "a namesake of the authority":
            name = "other" if kind == "another authority" else "devices"
            return issue(key, issuer=self_signed_authority(name, validity()))
        case "expired":
            old = validity(START - timedelta(days=9), days=1)
            return pem(client_certificate(DEVICES, key.public_key(), DEVICE, old))
        case "shorter":
            return issue(key, days=10)
    return "rubbish"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("another key", "another key"),
        ("another device", "is for 'd-zzzzzzzzzzzzzzzz'"),
        ("another authority", "not from an authority"),
        ("a namesake of the authority", "not from an authority"),
        ("expired", "expired at"),
        ("shorter", "ends before"),
        ("rubbish", "not a certificate"),
    ],
)
def test_a_renewed_certificate_that_is_wrong_changes_nothing(
    folder: Path, identity: Identity, kind: str, says: str
) -> None:
    renewed = wrong_certificate(kind, key_of(folder))
    before = (folder / "certificate.pem").read_bytes()
    with pytest.raises(PeerError, match=says):
        identity.install_certificate(renewed, ["rubbish", pem(DEVICES.certificate)], NOW)
    assert (folder / "certificate.pem").read_bytes() == before
    assert identity.certificate_pem.encode() == before


def test_a_key_is_made_once(tmp_path: Path) -> None:
    first = load_or_make_key(tmp_path / "device.key")
    assert load_or_make_key(tmp_path / "device.key").private_numbers() == first.private_numbers()
    assert b"BEGIN PRIVATE KEY" in (tmp_path / "device.key").read_bytes()
    assert "PRIVATE" not in signing_request(first)

"""Enrollment against a real HTTPS server."""

import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skerry_agent.durable import write_atomic
from skerry_agent.errors import PeerError, UsageError, WorldError
from skerry_agent.identity import EnrollmentLimits, EnrollmentRefusedError, Identity, enroll, enrollment
from skerry_agent.identity.device_key import signing_request
from skerry_agent.trust import MetadataRefusedError, TrustedTime, TrustStore
from skerry_controller.authorities.certificates import Validity, self_signed_authority
from skerry_protocol.codec import encode
from skerry_protocol.enrollment import (
    EnrollmentRequest,
    EnrollmentResponse,
    ErrorResponse,
    encode_enrollment_response,
)
from skerry_protocol.reported import Inventory
from support.enrollment_controller import DEVICE, EnrollmentController, Fleet, pem, validity
from support.metadata_sources import ManualClock
from support.tuf_repository import START, TufRepository


class Device:
    """A state folder that tries to enroll."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "identity"
        self.trust_folder = state / "trust"
        self.clock = ManualClock(START.timestamp())
        self.time_file = state / "time.json"
        self.limits = EnrollmentLimits(connect_timeout_s=5, read_timeout_s=5, answer_timeout_s=5)

    def time(self) -> TrustedTime:
        return TrustedTime(self.time_file, lambda: self.clock.wall, monotonic=lambda: self.clock.monotonic)

    async def enroll(self, token: str, url: str, *, again: bool = False) -> Identity:
        time = self.time()
        return await enroll(
            token,
            url,
            folder=self.folder,
            trust=TrustStore(self.trust_folder, time),
            time=time,
            inventory=Inventory(hostname="box"),
            limits=self.limits,
            again=again,
        )

    async def is_untouched(self) -> bool:
        return Identity.load(self.folder) is None and await self.trust() == "absent"

    async def trust(self) -> str:
        return await TrustStore(self.trust_folder, self.time()).load()


@pytest.fixture
def device(tmp_path: Path) -> Device:
    (tmp_path / "state").mkdir()
    return Device(tmp_path / "state")


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def controller(tmp_path: Path, fleet: Fleet) -> Iterator[EnrollmentController]:
    with EnrollmentController(tmp_path, fleet) as running:
        yield running


@pytest.fixture
def token(fleet: Fleet) -> str:
    return fleet.token().format()


async def test_a_device_enrolls(
    device: Device, controller: EnrollmentController, token: str, fleet: Fleet
) -> None:
    identity = await device.enroll(token, controller.url + "/")
    assert identity.device == DEVICE
    assert controller.requests[0].token_secret == fleet.token().secret
    assert controller.requests[0].inventory.hostname == "box"
    again = Identity.load(device.folder)
    assert again is not None
    assert again.enrollment == identity.enrollment
    assert again.enrollment.controller_url == controller.url
    assert again.signer.key_id == identity.signer.key_id
    assert await device.trust() == "loaded"


async def test_the_key_is_for_the_device_alone(
    device: Device, controller: EnrollmentController, token: str
) -> None:
    await device.enroll(token, controller.url)
    assert stat.S_IMODE((device.folder / "device.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(device.folder.stat().st_mode) == 0o700
    assert "PRIVATE" not in controller.requests[0].csr_pem
    assert not device.folder.with_name("identity.tmp").exists()


@pytest.mark.parametrize(
    "text", ["", "hello", "skerry1.", "skerry1.AAAA", "skerry2.abc", "skerry1." + "A" * 2000]
)
async def test_a_malformed_token_is_a_one_line_error(device: Device, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        await device.enroll(text, "https://127.0.0.1:1")
    assert "token" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8601",
        "http://127.0.0.1:8601",
        "https://",
        "https://h:port",
        "https://u:p@h",
        "https://h/?a=1",
    ],
)
async def test_an_address_that_is_not_https_is_a_one_line_error(device: Device, token: str, url: str) -> None:
    with pytest.raises(UsageError, match=r"write it as https://HOST:PORT"):
        await device.enroll(token, url)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("token_expired", "the token expired at 2026-11-20 12:00 UTC: make a new one"),
        ("token_used_up", "the token was used already: make a new one"),
        ("token_unknown", "no such token"),
        ("token_revoked", "the token was revoked"),
    ],
)
async def test_what_the_controller_says_about_the_token_reaches_the_person(
    device: Device, controller: EnrollmentController, token: str, code: str, message: str
) -> None:
    controller.enroll = lambda _request: (403, encode(ErrorResponse(code=code, message=message)))
    with pytest.raises(EnrollmentRefusedError) as caught:
        await device.enroll(token, controller.url)
    assert caught.value.code == code
    assert message in str(caught.value)
    assert await device.is_untouched()


async def test_a_hostile_message_stays_one_short_line(
    device: Device, controller: EnrollmentController, token: str
) -> None:
    hostile = encode(ErrorResponse(code="x", message="a\n\x1b[31mb" * 1000))
    controller.enroll = lambda _request: (403, hostile)
    with pytest.raises(EnrollmentRefusedError) as caught:
        await device.enroll(token, controller.url)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


async def test_a_token_of_another_controller_is_noticed_before_it_is_sent(
    device: Device, controller: EnrollmentController
) -> None:
    with pytest.raises(PeerError, match="belongs to another"):
        await device.enroll(Fleet().token().format(), controller.url)
    assert controller.requests == []
    assert await device.is_untouched()


async def test_somebody_who_shows_the_right_authority_without_its_key_gets_no_token(
    device: Device, tmp_path: Path, fleet: Fleet, token: str
) -> None:
    impostor_fleet = Fleet()
    with EnrollmentController(tmp_path, impostor_fleet) as impostor:
        impostor.authority = lambda: (200, pem(fleet.servers.certificate).encode())
        with pytest.raises(PeerError, match="no certificate of the token's controller"):
            await device.enroll(token, impostor.url)
        assert impostor.requests == []


async def test_an_authority_that_was_slipped_in_beside_the_right_one_is_not_believed(
    device: Device, tmp_path: Path, fleet: Fleet, token: str
) -> None:
    impostor_fleet = Fleet()
    with EnrollmentController(tmp_path, impostor_fleet) as impostor:
        both = pem(fleet.servers.certificate) + pem(impostor_fleet.servers.certificate)
        impostor.authority = lambda: (200, both.encode())
        with pytest.raises(PeerError, match="no certificate of the token's controller"):
            await device.enroll(token, impostor.url)
        assert impostor.requests == []


async def test_a_server_with_a_certificate_for_another_name_gets_no_token(
    device: Device, tmp_path: Path, fleet: Fleet, token: str
) -> None:
    with EnrollmentController(tmp_path, fleet, names=["elsewhere.example"]) as controller:
        with pytest.raises(PeerError, match="use a name or address that the controller was set up with"):
            await device.enroll(token, controller.url)
        assert controller.requests == []


async def test_a_server_with_an_expired_certificate_gets_no_token(
    device: Device, tmp_path: Path, fleet: Fleet, token: str
) -> None:
    with EnrollmentController(
        tmp_path, fleet, valid=validity(START - timedelta(days=3), days=2)
    ) as controller:
        with pytest.raises(PeerError, match="expired at 2026-11-19"):
            await device.enroll(token, controller.url)
        assert controller.requests == []


async def test_a_device_whose_clock_says_1970_enrolls_and_learns_the_time(
    device: Device, controller: EnrollmentController, token: str
) -> None:
    device.clock.wall = 0.0
    await device.enroll(token, controller.url)
    assert device.time().now() == pytest.approx(START.timestamp(), abs=600)


async def test_a_plain_http_server_is_named_as_what_it_is_not(device: Device, token: str) -> None:
    with (
        answering(b"HTTP/1.0 400 Bad Request\r\n\r\n") as port,
        pytest.raises(PeerError, match="does not speak TLS as a controller does"),
    ):
        await device.enroll(token, f"https://127.0.0.1:{port}")


async def test_another_https_server_is_named_as_what_it_is_not(
    device: Device, controller: EnrollmentController, token: str
) -> None:
    controller.authority = lambda: (404, b"<html>")
    with pytest.raises(PeerError, match="status 404"):
        await device.enroll(token, controller.url)
    controller.authority = lambda: (200, b"<html>")
    with pytest.raises(PeerError, match="does not answer as a controller does"):
        await device.enroll(token, controller.url)


async def test_redirects_are_not_followed(
    device: Device, controller: EnrollmentController, token: str
) -> None:
    controller.enroll = lambda _request: (307, b"")
    with pytest.raises(PeerError, match="status 307"):
        await device.enroll(token, controller.url)


async def test_an_endless_answer_is_cut(device: Device, controller: EnrollmentController, token: str) -> None:
    controller.authority = lambda: (200, b"A" * 100_000)
    with pytest.raises(PeerError, match="exceeds the limit"):
        await device.enroll(token, controller.url)


async def test_nothing_listens(device: Device, token: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(WorldError, match="nothing listens at"):
        await device.enroll(token, f"https://127.0.0.1:{port}")


async def test_a_server_that_says_nothing(device: Device, token: str) -> None:
    device.limits = EnrollmentLimits(connect_timeout_s=0.1, read_timeout_s=0.1)
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as silent,
        pytest.raises(WorldError, match="does not answer in time"),
    ):
        await device.enroll(token, f"https://127.0.0.1:{silent.getsockname()[1]}")


async def test_a_server_that_hangs_up(device: Device, token: str) -> None:
    with answering(b"") as port, pytest.raises((WorldError, PeerError)) as caught:
        await device.enroll(token, f"https://127.0.0.1:{port}")
    assert f"https://127.0.0.1:{port}" in str(caught.value)


async def test_a_name_that_does_not_resolve(
    device: Device, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(WorldError, match=r"the name fleet\.invalid cannot be resolved"):
        await device.enroll(token, "https://fleet.invalid:8601")


async def test_a_stolen_controller_with_a_repository_of_its_own_gets_no_device(
    device: Device, controller: EnrollmentController, token: str
) -> None:
    other = TufRepository()
    controller.enroll = lambda request: (
        200,
        encode_enrollment_response(replace_response(controller.fleet, request, files=dict(other.files))),
    )
    with pytest.raises(MetadataRefusedError, match="not the one in the token"):
        await device.enroll(token, controller.url)
    assert await device.is_untouched()


async def test_a_controller_that_the_trust_document_does_not_name_gets_no_device(
    device: Device, controller: EnrollmentController, token: str
) -> None:
    controller.fleet.publish_trust_document(servers=self_signed_authority("other", validity()))
    with pytest.raises(PeerError, match="does not name the authority"):
        await device.enroll(token, controller.url)
    assert await device.is_untouched()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("another key", "another key"),
        ("another device", "is for 'd-zzzzzzzzzzzzzzzz'"),
        ("another authority", "not from an authority"),
        ("expired", "expired at"),
        ("no certificate", "not a certificate"),
        ("no device id", "cannot be used"),
        ("no root", "no 1.root.json"),
        ("no trust document", "no fleet/"),
        ("not json", "cannot be used"),
    ],
)
async def test_an_answer_that_does_not_hold_together_is_refused(
    device: Device, controller: EnrollmentController, token: str, kind: str, says: str
) -> None:
    controller.enroll = lambda request: (200, spoiled(controller.fleet, request, kind))
    with pytest.raises(PeerError, match=says):
        await device.enroll(token, controller.url)
    assert await device.is_untouched()


async def test_an_enrolled_device_stays_what_it_is(
    device: Device, controller: EnrollmentController, token: str
) -> None:
    first = await device.enroll(token, controller.url)
    with pytest.raises(UsageError, match=f"enrolled already, as {DEVICE}"):
        await device.enroll(token, controller.url)
    assert len(controller.requests) == 1
    held = Identity.load(device.folder)
    assert held is not None
    assert held.enrollment == first.enrollment


async def test_another_fleet_does_not_get_a_device_that_trusts_one(
    device: Device, controller: EnrollmentController, token: str, tmp_path: Path
) -> None:
    await device.enroll(token, controller.url)
    (tmp_path / "other").mkdir()
    with EnrollmentController(tmp_path / "other", Fleet()) as other:
        with pytest.raises(UsageError, match="another fleet"):
            await device.enroll(other.fleet.token().format(), other.url, again=True)
        assert other.requests == []
    held = Identity.load(device.folder)
    assert held is not None
    assert held.device == DEVICE


async def test_enrolling_again_on_purpose_replaces_key_and_certificate(
    device: Device, controller: EnrollmentController, token: str
) -> None:
    first = await device.enroll(token, controller.url)
    second = await device.enroll(token, controller.url, again=True)
    assert second.signer.key_id != first.signer.key_id
    assert sorted(path.name for path in device.folder.parent.glob("identity*")) == ["identity"]


async def test_a_device_whose_certificate_ended_enrolls_again(
    device: Device, controller: EnrollmentController, token: str, fleet: Fleet
) -> None:
    short = validity(days=1)
    controller.enroll = lambda request: (
        200,
        encode_enrollment_response(
            replace_response(fleet, request, certificate=fleet.issue(request.csr_pem, valid=short))
        ),
    )
    await device.enroll(token, controller.url)
    device.clock.pass_time(2 * 86_400)
    longer: Validity = validity(days=30)
    controller.enroll = lambda request: (
        200,
        encode_enrollment_response(
            replace_response(fleet, request, certificate=fleet.issue(request.csr_pem, valid=longer))
        ),
    )
    identity = await device.enroll(token, controller.url)
    assert not identity.is_expired(device.time().now())


async def test_an_enrollment_that_was_cut_off_goes_on_with_its_key(
    device: Device, controller: EnrollmentController, token: str
) -> None:
    good = controller.enroll
    controller.enroll = lambda _request: (503, b"")
    with pytest.raises(PeerError):
        await device.enroll(token, controller.url)
    assert await device.is_untouched()
    controller.enroll = good
    await device.enroll(token, controller.url)
    first, second = controller.requests
    assert public_key_of(first) == public_key_of(second)


@pytest.mark.parametrize("step", ["certificate", "record", "rename"])
async def test_a_device_that_is_killed_while_it_stores_is_not_enrolled_and_can_try_again(
    device: Device,
    controller: EnrollmentController,
    token: str,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        pass

    with monkeypatch.context() as patched:
        kill_at(patched, step, Killed)
        with pytest.raises(Killed):
            await device.enroll(token, controller.url)
    assert Identity.load(device.folder) is None
    identity = await device.enroll(token, controller.url)
    assert identity.device == DEVICE


async def test_a_device_that_is_killed_between_the_renames_keeps_its_old_identity(
    device: Device, controller: EnrollmentController, token: str
) -> None:
    first = await device.enroll(token, controller.url)
    device.folder.rename(device.folder.with_name("identity.old"))
    held = Identity.load(device.folder)
    assert held is not None
    assert held.signer.key_id == first.signer.key_id


async def test_a_full_disk_is_said_in_one_line(
    device: Device, controller: EnrollmentController, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", no_space)
        with pytest.raises(WorldError, match="No space left on device; check free space"):
            await device.enroll(token, controller.url)
    assert await device.is_untouched()


def replace_response(
    fleet: Fleet,
    request: EnrollmentRequest,
    *,
    certificate: str | None = None,
    files: dict[str, bytes] | None = None,
    device: str | None = None,
) -> EnrollmentResponse:
    good = fleet.response(request)
    return EnrollmentResponse(
        device=device or good.device,
        certificate_pem=certificate or good.certificate_pem,
        files=files if files is not None else good.files,
    )


def spoiled(fleet: Fleet, request: EnrollmentRequest, kind: str) -> bytes:
    certificate: str | None = None
    device: str | None = None
    files = dict(fleet.repository.files)
    match kind:
        case "another key":
            certificate = fleet.issue(signing_request(ec.generate_private_key(ec.SECP256R1())))
        case "another device":
            certificate = fleet.issue(request.csr_pem, "d-zzzzzzzzzzzzzzzz")
        case "another authority":
            certificate = Fleet(repository=fleet.repository).issue(request.csr_pem)
        case "expired":
            certificate = fleet.issue(request.csr_pem, valid=validity(START - timedelta(days=9), days=1))
        case "no certificate":
            certificate = "certificate"
        case "no device id":
            device = "../../etc"
        case "no root":
            del files["1.root.json"]
        case "no trust document":
            files = {name: data for name, data in files.items() if not name.startswith("fleet/")}
        case _:
            return b"{"
    return encode_enrollment_response(
        replace_response(fleet, request, certificate=certificate, files=files, device=device)
    )


def public_key_of(request: EnrollmentRequest) -> bytes:
    key = x509.load_pem_x509_csr(request.csr_pem.encode()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def kill_at(patched: pytest.MonkeyPatch, step: str, killed: type[BaseException]) -> None:
    """Stop at one of the last steps, as a power cut would."""

    def write(path: Path, data: bytes, *, mode: int = 0o644) -> None:
        if {"certificate": "certificate.pem", "record": "enrollment.json"}.get(step) == path.name:
            raise killed
        write_atomic(path, data, mode=mode)

    def rename(path: Path, target: Path) -> Path:
        if path.name == "identity.tmp":
            raise killed
        return path.replace(target)

    patched.setattr(enrollment, "write_atomic", write)
    if step == "rename":
        patched.setattr(Path, "rename", rename)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server that reads a little, answers this, and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with closing(connection):
            connection.recv(16)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join(timeout=5)
        listener.close()

"""The device's TLS context against a real TLS server that demands a client certificate."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import certifi
import msgspec
import pytest
import requests
from cryptography import x509

from skerry_agent.errors import PeerError
from skerry_agent.identity import Enrollment, Identity, check_peer_dates, client_context
from skerry_agent.identity.certificates import common_name
from skerry_agent.identity.device_key import load_or_make_key, signing_request
from skerry_agent.identity.pinned_https import pinned_session
from skerry_agent.trust import TrustedTime
from skerry_controller.authorities.certificates import Validity
from support.enrollment_controller import DEVICE, Fleet, pem, validity
from support.metadata_sources import ManualClock
from support.tuf_repository import START

DAY = timedelta(days=1)
LONG_AGO = datetime.fromtimestamp(1_600_000_000, START.tzinfo)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def identity(tmp_path: Path, fleet: Fleet) -> Identity:
    folder = tmp_path / "identity"
    folder.mkdir()
    key = load_or_make_key(folder / "device.key")
    (folder / "certificate.pem").write_text(fleet.issue(signing_request(key)))
    enrollment = Enrollment(
        device=DEVICE, controller_url="", authority_sha256="", root_sha256="", enrolled_at=0.0
    )
    (folder / "enrollment.json").write_bytes(msgspec.json.encode(enrollment))
    identity = Identity.load(folder)
    assert identity is not None
    return identity


@contextmanager
def server(
    fleet: Fleet, folder: Path, *, names: list[str] | None = None, valid: Validity | None = None
) -> Iterator[int]:
    """Accepts one connection and sends the client's common name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*fleet.server_files(folder, names or ["localhost"], valid or validity()))
    context.load_verify_locations(cadata=pem(fleet.devices.certificate))
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= 0x200000  # the tests' dates are not those of this machine
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with closing(connection):
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    certificate = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
                    secured.sendall(common_name(certificate).encode())
            except OSError:
                pass  # the client refused

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join(timeout=5)
        listener.close()


def connect(context: ssl.SSLContext, port: int, time: TrustedTime) -> str:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        check_peer_dates(secured.getpeercert() or {}, time)
        return secured.recv(100).decode()


def time_at(folder: Path, moment: datetime) -> TrustedTime:
    clock = ManualClock(moment.timestamp())
    return TrustedTime(folder / "time.json", lambda: clock.wall, monotonic=lambda: clock.monotonic)


def test_the_server_sees_the_devices_name(tmp_path: Path, fleet: Fleet, identity: Identity) -> None:
    context = identity.tls_context([pem(fleet.servers.certificate)])
    with server(fleet, tmp_path) as port:
        assert connect(context, port, time_at(tmp_path, START)) == DEVICE


def test_a_clock_of_1970_does_not_stop_the_connection(
    tmp_path: Path, fleet: Fleet, identity: Identity
) -> None:
    context = identity.tls_context([pem(fleet.servers.certificate)])
    time = time_at(tmp_path, datetime.fromtimestamp(0, START.tzinfo))
    with server(fleet, tmp_path, valid=validity(START + 5 * DAY)) as port:
        assert connect(context, port, time) == DEVICE
    assert time.now() >= (START + 4 * DAY).timestamp()


def test_a_certificate_that_ended_by_trusted_time_is_refused(
    tmp_path: Path, fleet: Fleet, identity: Identity
) -> None:
    context = identity.tls_context([pem(fleet.servers.certificate)])
    with (
        server(fleet, tmp_path, valid=validity(days=1)) as port,
        pytest.raises(PeerError, match="certificate expired at 2026-11-21 12:00 UTC"),
    ):
        connect(context, port, time_at(tmp_path, START + 2 * DAY))


def test_a_wrong_clock_before_the_floor_does_not_revive_a_certificate(
    tmp_path: Path, fleet: Fleet, identity: Identity
) -> None:
    context = identity.tls_context([pem(fleet.servers.certificate)])
    with (
        server(fleet, tmp_path, valid=Validity(LONG_AGO, LONG_AGO + DAY)) as port,
        pytest.raises(PeerError, match="expired"),
    ):
        connect(context, port, time_at(tmp_path, LONG_AGO))


def test_a_poisoned_floor_does_not_cut_the_device_off_from_what_resets_it(
    tmp_path: Path, fleet: Fleet, identity: Identity
) -> None:
    context = identity.tls_context([pem(fleet.servers.certificate)])
    time = time_at(tmp_path, START)
    time.raise_floor((START + 9 * 365 * DAY).timestamp(), "a stolen director")
    with server(fleet, tmp_path) as port:
        assert connect(context, port, time) == DEVICE
    with pytest.raises(PeerError, match="expired"):
        check_peer_dates(
            {"notBefore": "Jan  1 00:00:00 2026 GMT", "notAfter": "Nov 10 00:00:00 2026 GMT"}, time
        )


def test_a_certificate_from_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    peer = {"notBefore": "Jan  1 00:00:00 2099 GMT", "notAfter": "Jan  1 00:00:00 2100 GMT"}
    with pytest.raises(PeerError, match="begins at 2099"):
        check_peer_dates(peer, time_at(tmp_path, START))


@pytest.mark.parametrize("peer", [{}, {"notBefore": "soon", "notAfter": "later"}, {"notBefore": None}])
def test_a_peer_without_dates_is_refused(tmp_path: Path, peer: dict[str, str]) -> None:
    with pytest.raises(PeerError, match="no readable dates"):
        check_peer_dates(peer, time_at(tmp_path, START))


def test_a_server_of_another_authority_is_refused(tmp_path: Path, fleet: Fleet, identity: Identity) -> None:
    context = identity.tls_context([pem(Fleet(repository=fleet.repository).servers.certificate)])
    with server(fleet, tmp_path) as port, pytest.raises(ssl.SSLCertVerificationError):
        connect(context, port, time_at(tmp_path, START))


def test_a_device_certificate_does_not_pass_for_a_servers(
    tmp_path: Path, fleet: Fleet, identity: Identity
) -> None:
    context = identity.tls_context([pem(fleet.servers.certificate)])
    impostor = Fleet(servers=fleet.devices, repository=fleet.repository)
    with server(impostor, tmp_path) as port, pytest.raises(ssl.SSLCertVerificationError):
        connect(context, port, time_at(tmp_path, START))


def test_another_host_name_is_refused(tmp_path: Path, fleet: Fleet, identity: Identity) -> None:
    context = identity.tls_context([pem(fleet.servers.certificate)])
    with (
        server(fleet, tmp_path, names=["other.example"]) as port,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        connect(context, port, time_at(tmp_path, START))


def test_authorities_that_are_no_certificates_are_the_peers_fault(identity: Identity) -> None:
    with pytest.raises(PeerError, match="not certificates"):
        identity.tls_context(["authority"])


def test_requests_adds_no_public_authorities(
    tmp_path: Path, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    context = client_context([pem(fleet.servers.certificate)])
    with (
        server(fleet, tmp_path, names=["127.0.0.1"]) as port,
        pinned_session(context, lambda _peer: None) as session,
        pytest.raises(requests.RequestException),
    ):
        session.get(f"https://127.0.0.1:{port}/", timeout=5)
    assert context.cert_store_stats()["x509"] == 1


def test_requests_goes_nowhere_but_to_https(fleet: Fleet) -> None:
    with (
        pinned_session(client_context([pem(fleet.servers.certificate)]), None) as session,
        pytest.raises(requests.RequestException, match="not https"),
    ):
        session.get("http://127.0.0.1:1/", timeout=5)

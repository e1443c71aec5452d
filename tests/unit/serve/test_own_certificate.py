from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from skerry_controller.authorities import Authorities
from skerry_controller.errors import UsageError
from skerry_controller.serve.certificates import ServerCertificate, server_names
from skerry_protocol.trust_document import Authorities as TrustedAuthorities
from skerry_protocol.trust_document import Directors, TrustDocument

NOW = datetime(2026, 11, 3, tzinfo=UTC)


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    return Authorities.create(tmp_path / "authorities", now=NOW)


def certificate(tmp_path: Path, authorities: Authorities, *names: str) -> ServerCertificate:
    return ServerCertificate(tmp_path / "certificates", authorities, names or ("localhost", "127.0.0.1"))


def test_it_is_issued_once_and_kept(tmp_path: Path, authorities: Authorities) -> None:
    first = certificate(tmp_path, authorities)
    assert first.ensure(NOW)
    assert not certificate(tmp_path, authorities).ensure(NOW + timedelta(days=30))
    assert (tmp_path / "certificates" / "server.key").stat().st_mode & 0o777 == 0o600


def test_it_is_renewed_in_time(tmp_path: Path, authorities: Authorities) -> None:
    own = certificate(tmp_path, authorities)
    own.ensure(NOW)
    before = own.pair().certificate
    assert own.ensure(NOW + timedelta(days=61))
    assert own.pair().certificate.not_valid_after_utc > before.not_valid_after_utc


def test_a_new_name_needs_a_new_certificate_and_a_lost_one_does_not(
    tmp_path: Path, authorities: Authorities
) -> None:
    certificate(tmp_path, authorities, "a.example", "10.0.0.1").ensure(NOW)
    assert not certificate(tmp_path, authorities, "10.0.0.1").ensure(NOW)
    assert certificate(tmp_path, authorities, "a.example", "b.example").ensure(NOW)


def test_one_of_another_authority_is_replaced(tmp_path: Path, authorities: Authorities) -> None:
    certificate(tmp_path, authorities).ensure(NOW)
    other = Authorities.create(tmp_path / "others", now=NOW)
    assert certificate(tmp_path, other).ensure(NOW)


@pytest.mark.parametrize("name", ["server.crt", "server.key"])
def test_a_lost_or_damaged_file_is_made_again(tmp_path: Path, authorities: Authorities, name: str) -> None:
    certificate(tmp_path, authorities).ensure(NOW)
    (tmp_path / "certificates" / name).unlink()
    assert certificate(tmp_path, authorities).ensure(NOW)
    (tmp_path / "certificates" / "server.crt").write_text("damaged")
    assert certificate(tmp_path, authorities).ensure(NOW)


def test_an_impossible_name_is_refused(tmp_path: Path, authorities: Authorities) -> None:
    with pytest.raises(UsageError, match="neither a host name"):
        certificate(tmp_path, authorities, "not a name").ensure(NOW)


def test_the_names_are_those_of_the_trust_document_and_loopback() -> None:
    trust = TrustDocument(
        fleet="f",
        epoch=1,
        issued_at=0,
        directors=Directors(keys=()),
        authorities=TrustedAuthorities(servers=(), devices=()),
        controller_urls=("https://a.example:8601", "https://[fd00::1]:8601"),
        broker_urls=("mqtts://a.example:8883", "mqtts://b.example:8883"),
    )
    assert server_names(trust, ["c.example"]) == (
        "a.example",
        "fd00::1",
        "b.example",
        "c.example",
        "localhost",
        "127.0.0.1",
    )

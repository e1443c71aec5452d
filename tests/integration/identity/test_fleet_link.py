"""Identity and trust document together, after a real enrollment."""

from pathlib import Path

import pytest

from skerry_agent.errors import PeerError
from skerry_agent.identity import FleetLink, enroll
from skerry_agent.trust import TrustedTime, TrustStore
from support.enrollment_controller import DEVICE, EnrollmentController, Fleet, validity
from support.metadata_sources import ManualClock
from support.tuf_repository import START

DAY = 86_400


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
async def link(tmp_path: Path, fleet: Fleet) -> FleetLink:
    clock = ManualClock(START.timestamp())
    time = TrustedTime(tmp_path / "time.json", lambda: clock.wall)
    trust = TrustStore(tmp_path / "trust", time)
    with EnrollmentController(tmp_path, fleet) as controller:
        identity = await enroll(
            fleet.token().format(), controller.url, folder=tmp_path / "identity", trust=trust, time=time
        )
    return FleetLink(identity, trust, time)


async def test_addresses_and_topics_come_from_the_trust_document(link: FleetLink) -> None:
    assert link.device == DEVICE
    assert link.topic_root == "skerry/v1"
    assert [(address.host, address.port) for address in link.addresses()] == [("127.0.0.1", 8883)]
    assert link.tls_context().cert_store_stats()["x509"] == 1


async def test_a_certificate_of_the_fleets_authority_is_taken_for_a_renewal(
    link: FleetLink, fleet: Fleet
) -> None:
    assert link.renewal_due(START.timestamp() + 61 * DAY)
    link.install_certificate(fleet.issue(link.new_csr(), valid=validity(days=180)))
    assert not link.renewal_due(START.timestamp() + 61 * DAY)


async def test_a_certificate_of_another_authority_is_not(link: FleetLink, fleet: Fleet) -> None:
    other = Fleet(repository=fleet.repository)
    with pytest.raises(PeerError, match="not from an authority"):
        link.install_certificate(other.issue(link.new_csr(), valid=validity(days=180)))


async def test_a_peer_is_judged_by_trusted_time(link: FleetLink) -> None:
    with pytest.raises(PeerError, match="expired"):
        link.check_peer({"notBefore": "Nov  1 00:00:00 2026 GMT", "notAfter": "Nov  2 00:00:00 2026 GMT"})

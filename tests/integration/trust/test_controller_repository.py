"""What the controller's repository publishes, a device's store verifies."""

import hashlib
from pathlib import Path

import pytest

from skerry_agent.trust import FilesSource, FleetTargets, MetadataRefusedError, TrustedTime, TrustStore
from skerry_controller.enrollment.first_files import first_files
from skerry_controller.repository import add_target
from skerry_protocol.desired import TargetRef
from support.metadata_sources import ManualClock
from support.repository import NOW, Fleet

PATH = "models/smol/1.json"
MANIFEST = b'{"name": "smol"}'


class RepositorySource:
    """Reads from the controller's repository as its request answering does."""

    def __init__(self, fleet: Fleet) -> None:
        self._repository = fleet.repository

    async def fetch(self, name: str, max_bytes: int) -> bytes | None:
        return self._repository.get(name)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW.timestamp())


@pytest.fixture
async def store(tmp_path: Path, fleet: Fleet, clock: ManualClock) -> TrustStore:
    store = TrustStore(tmp_path / "trust", TrustedTime(tmp_path / "time.json", lambda: clock.wall))
    files = first_files(fleet.repository)
    await store.bootstrap(fleet.root, hashlib.sha256(fleet.root).hexdigest(), FilesSource(files))
    return store


def publish(fleet: Fleet) -> TargetRef:
    signed = add_target(
        fleet.repository.role_metadata("models"),
        "models",
        PATH,
        MANIFEST,
        fleet.offline.signer("models"),
        now=NOW,
    )
    publication = fleet.repository.publish("models", signed, {PATH: MANIFEST}, now=NOW)
    assert publication.version == 2
    target = fleet.repository.targets("models")[PATH]
    return TargetRef(path=PATH, sha256=target.hashes["sha256"], length=target.length)


async def test_the_files_of_an_enrollment_are_enough(fleet: Fleet, store: TrustStore) -> None:
    assert store.versions == {"root": 1, **fleet.repository.versions()}
    assert store.trust_document.fleet == "f-test"


async def test_a_published_manifest_reaches_the_device(fleet: Fleet, store: TrustStore) -> None:
    ref = publish(fleet)
    targets = FleetTargets(store, RepositorySource(fleet))
    assert await targets.manifest(ref, dict(fleet.repository.versions())) == MANIFEST


async def test_a_controller_that_stopped_signing_is_noticed_and_followed_when_it_signs_again(
    fleet: Fleet, store: TrustStore, clock: ManualClock
) -> None:
    expiry = fleet.repository.expiries()["timestamp"]
    clock.wall = expiry.timestamp() + 1
    with pytest.raises(MetadataRefusedError, match="expired"):
        await store.refresh(RepositorySource(fleet))
    assert fleet.repository.refresh_timestamp(expiry)
    await store.refresh(RepositorySource(fleet))
    assert store.versions["timestamp"] == 2


async def test_what_resembles_a_file_is_what_was_there_before(fleet: Fleet, store: TrustStore) -> None:
    source = RepositorySource(fleet)
    ref = publish(fleet)
    for name in ("2.models.json", "9.snapshot.json", "1.targets.json", "2.root.json", "fleet/aa.trust.json"):
        similar = await store.similar(name)
        assert similar is not None
        assert similar.content == fleet.repository.get(similar.name)
    assert await store.similar("models/smol/aa.2.json") is None
    await FleetTargets(store, source).manifest(ref, {})
    held = await store.similar("models/smol/aa.2.json")
    assert held is not None
    assert (held.name, held.content) == (f"models/smol/{ref.sha256}.1.json", MANIFEST)
    assert await store.similar("models/other/aa.2.json") is None
    assert await store.similar("timestamp.json") is None
    assert await store.similar("4.unheard-of.json") is None

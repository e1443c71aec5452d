"""Signed targets: who may choose them, and what happens to other bytes."""

import hashlib
from pathlib import Path

import pytest

from skerry_agent.errors import WorldError
from skerry_agent.trust import (
    FilesSource,
    FleetTargets,
    TargetNotYetVisibleError,
    TargetRefusedError,
    TrustedTime,
    TrustLimits,
    TrustStore,
)
from skerry_protocol.deltas import delta_path
from skerry_protocol.desired import TargetRef
from support.metadata_sources import ManualClock, RecordingSource
from support.tuf_repository import START, TufRepository

PATH = "models/smol/1.json"
MANIFEST = b'{"name": "smol"}'


@pytest.fixture
def repository() -> TufRepository:
    return TufRepository()


@pytest.fixture
def ref(repository: TufRepository) -> TargetRef:
    """Signed and published after the device enrolled, so not known to it yet."""
    return TargetRef(path=PATH, sha256=_sha256(MANIFEST), length=len(MANIFEST))


@pytest.fixture
async def store(tmp_path: Path, repository: TufRepository) -> TrustStore:
    clock = ManualClock(START.timestamp())
    store = TrustStore(
        tmp_path / "trust",
        TrustedTime(tmp_path / "time.json", lambda: clock.wall),
        limits=TrustLimits(max_target_bytes=1000),
    )
    await store.bootstrap(
        repository.initial_root, repository.initial_root_sha256, FilesSource(repository.files)
    )
    return store


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def publish(repository: TufRepository, content: bytes = MANIFEST) -> None:
    repository.put_target(PATH, content)
    repository.publish("models")


async def test_a_manifest_is_looked_up_with_a_refresh_when_needed(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    publish(repository)
    assert await FleetTargets(store, FilesSource(repository.files)).manifest(ref, {"models": 2}) == MANIFEST


async def test_a_known_manifest_needs_no_network(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    publish(repository)
    source = RecordingSource(repository.files)
    targets = FleetTargets(store, source)
    await targets.manifest(ref, {})
    source.asked.clear()
    assert await targets.manifest(ref, {"models": 2}) == MANIFEST
    assert source.asked == []


async def test_before_its_version_is_visible_the_device_waits(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    with pytest.raises(TargetNotYetVisibleError, match="models 2"):
        await FleetTargets(store, FilesSource(repository.files)).manifest(ref, {"models": 2})


async def test_what_nobody_signed_is_refused(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    with pytest.raises(TargetRefusedError) as caught:
        await FleetTargets(store, FilesSource(repository.files)).manifest(ref, {"models": 1})
    assert caught.value.code == "target_unknown"


async def test_another_hash_than_the_signed_one_is_refused(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    publish(repository, b"other bytes")
    with pytest.raises(TargetRefusedError) as caught:
        await FleetTargets(store, FilesSource(repository.files)).manifest(ref, {"models": 2})
    assert caught.value.code == "target_mismatch"


async def test_altered_bytes_are_neither_cached_nor_held_against_the_target(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    publish(repository)
    name = f"models/smol/{ref.sha256}.1.json"
    repository.files[name] = MANIFEST.replace(b"smol", b"smal")
    targets = FleetTargets(store, FilesSource(repository.files))
    # Whoever carries the bytes can alter them: that must not have a good version refused for ever.
    with pytest.raises(TargetNotYetVisibleError, match="not those that were signed"):
        await targets.manifest(ref, {})
    repository.files[name] = MANIFEST
    assert await targets.manifest(ref, {}) == MANIFEST


async def test_a_manifest_over_the_limit_is_refused_before_it_is_read(
    repository: TufRepository, store: TrustStore
) -> None:
    ref = repository.put_target(PATH, b" " * 1001)
    repository.publish("models")
    source = RecordingSource(repository.files)
    with pytest.raises(TargetRefusedError) as caught:
        await FleetTargets(store, source).manifest(ref, {})
    assert caught.value.code == "target_too_large"
    assert not [name for name in source.asked if ref.sha256 in name]


async def test_a_wrongly_signed_role_refuses_the_target(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    repository.put_target(PATH, MANIFEST)
    repository.publish_targets("models", signer=repository.signers["configs"])
    repository.publish_snapshot()
    repository.publish_timestamp()
    with pytest.raises(TargetRefusedError) as caught:
        await FleetTargets(store, FilesSource(repository.files)).manifest(ref, {"models": 2})
    assert caught.value.code == "metadata_unsigned"


async def test_a_timestamp_that_somebody_else_signed_means_try_again(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    publish(repository)
    forged = {**repository.files, "timestamp.json": TufRepository().files["timestamp.json"]}
    with pytest.raises(TargetNotYetVisibleError, match="timestamp"):
        await FleetTargets(store, FilesSource(forged)).manifest(ref, {"models": 2})
    assert await FleetTargets(store, FilesSource(repository.files)).manifest(ref, {"models": 2}) == MANIFEST


async def test_an_unreachable_repository_is_the_worlds_fault(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    publish(repository)
    with pytest.raises(WorldError, match="the link broke"):
        await FleetTargets(store, RecordingSource(repository.files, fail_at=0)).manifest(ref, {})


async def test_a_file_that_the_repository_does_not_have_yet_means_try_again(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    publish(repository)
    del repository.files[f"models/smol/{ref.sha256}.1.json"]
    with pytest.raises(TargetNotYetVisibleError):
        await FleetTargets(store, FilesSource(repository.files)).manifest(ref, {})


async def test_a_damaged_cached_target_is_read_again(
    tmp_path: Path, repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    publish(repository)
    targets = FleetTargets(store, FilesSource(repository.files))
    await targets.manifest(ref, {})
    (tmp_path / "trust/targets" / ref.sha256).write_bytes(b"rotten")
    assert await targets.manifest(ref, {}) == MANIFEST
    assert (tmp_path / "trust/targets" / ref.sha256).read_bytes() == MANIFEST


async def test_what_is_no_longer_listed_leaves_the_cache(
    tmp_path: Path, repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    publish(repository)
    await FleetTargets(store, FilesSource(repository.files)).manifest(ref, {})
    assert [path.name for path in (tmp_path / "trust/targets").iterdir()] == [ref.sha256]
    publish(repository, b"newer bytes")
    await store.refresh(FilesSource(repository.files))
    assert list((tmp_path / "trust/targets").iterdir()) == []


DELTA = delta_path("smol", "a" * 64, "b" * 64)


async def test_a_delta_that_came_later_is_found_in_newer_metadata(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    publish(repository)
    source = RecordingSource(repository.files)
    targets = FleetTargets(store, source)
    await targets.manifest(ref, {"models": 2})
    repository.put_target(DELTA, b"an index")
    repository.publish("models")
    assert targets.deltas("a" * 64) == []
    assert await targets.manifest(ref, {"models": 3}) == MANIFEST
    (found,) = targets.deltas("a" * 64)
    assert await targets.delta(found) == b"an index"
    assert targets.deltas("b" * 64) == []
    # Which indexes there are is known without asking; then one file for each that is read.
    assert [name for name in source.asked if "_delta" in name] == [
        f"models/smol/{found.sha256}.{DELTA.rpartition('/')[2]}"
    ]


async def test_a_known_manifest_does_not_wait_for_newer_metadata_that_cannot_be_had(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    publish(repository)
    await FleetTargets(store, FilesSource(repository.files)).manifest(ref, {"models": 2})
    offline = RecordingSource(repository.files, fail_at=0)
    assert await FleetTargets(store, offline).manifest(ref, {"models": 3}) == MANIFEST


async def test_a_delta_that_another_role_signed_does_not_count(
    repository: TufRepository, store: TrustStore, ref: TargetRef
) -> None:
    repository.put_target(DELTA, b"an index", role="configs")
    repository.publish("configs")
    publish(repository)
    targets = FleetTargets(store, FilesSource(repository.files))
    await targets.manifest(ref, {"models": 2})
    assert store.versions["configs"] == 2
    assert targets.deltas("a" * 64) == []

"""The store against a real TUF repository, on a real disk."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from skerry_agent.errors import UsageError, WorldError
from skerry_agent.trust import (
    FilesSource,
    MetadataRefusedError,
    TrustedTime,
    TrustLimits,
    TrustStateLostError,
    TrustStore,
)
from skerry_protocol.envelope import seal
from skerry_protocol.errors import SignatureError
from skerry_protocol.names import TRUST_TARGET
from support.metadata_sources import ManualClock, RecordingEvents, RecordingSource
from support.tuf_repository import START, TufRepository, trust_document

DAY = 86_400


class Device:
    """A state folder with a clock; ``start`` is what a restart of the agent does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(START.timestamp())
        self.events = RecordingEvents()
        self.limits = TrustLimits(fetch_timeout_s=5.0)

    def start(self) -> TrustStore:
        self.time = TrustedTime(
            self.folder / "time.json", lambda: self.clock.wall, monotonic=lambda: self.clock.monotonic
        )
        return TrustStore(self.folder / "trust", self.time, events=self.events, limits=self.limits)

    async def restart(self) -> TrustStore:
        store = self.start()
        assert await store.load() == "loaded"
        return store

    def snapshot_of_disk(self) -> dict[str, tuple[int, int]]:
        return {
            str(path.relative_to(self.folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in self.folder.rglob("*")
        }


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.fixture
def repository() -> TufRepository:
    return TufRepository()


@pytest.fixture
async def store(device: Device, repository: TufRepository) -> TrustStore:
    store = device.start()
    await store.bootstrap(
        repository.initial_root, repository.initial_root_sha256, FilesSource(repository.files)
    )
    return store


async def refused(store: TrustStore, repository: TufRepository, code: str, role: str) -> None:
    before = store.versions
    with pytest.raises(MetadataRefusedError) as caught:
        await store.refresh(FilesSource(repository.files))
    assert (caught.value.code, caught.value.role) == (code, role)
    assert store.versions == before


async def test_bootstrap_verifies_and_stores(device: Device, store: TrustStore) -> None:
    assert store.trust_document.epoch == 1
    assert store.versions == dict.fromkeys(
        ("root", "timestamp", "snapshot", "targets", "models", "configs"), 1
    )
    again = await device.restart()
    assert again.versions == store.versions
    assert again.trust_document == store.trust_document


async def test_bootstrap_refuses_another_root(device: Device, repository: TufRepository) -> None:
    other = TufRepository()
    with pytest.raises(MetadataRefusedError, match="not the one in the token"):
        await device.start().bootstrap(
            other.initial_root, repository.initial_root_sha256, FilesSource(other.files)
        )
    assert await device.start().load() == "absent"


async def test_a_trusted_root_is_never_replaced(device: Device, store: TrustStore) -> None:
    other = TufRepository()
    with pytest.raises(UsageError, match="another fleet"):
        await device.start().bootstrap(
            other.initial_root, other.initial_root_sha256, FilesSource(other.files)
        )
    assert (await device.restart()).trust_document == store.trust_document


async def test_bootstrapping_again_in_the_same_fleet_refuses_older_metadata(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    old = dict(repository.files)
    repository.publish("models")
    await store.refresh(FilesSource(repository.files))
    with pytest.raises(MetadataRefusedError) as caught:
        await device.start().bootstrap(
            repository.initial_root, repository.initial_root_sha256, FilesSource(old)
        )
    assert caught.value.code == "metadata_rollback"


async def test_a_failed_check_stores_nothing(device: Device, repository: TufRepository) -> None:
    def check(_document: object) -> None:
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        await device.start().bootstrap(
            repository.initial_root,
            repository.initial_root_sha256,
            FilesSource(repository.files),
            check=check,
        )
    assert await device.start().load() == "absent"


async def test_nothing_is_trusted_before_enrollment(device: Device) -> None:
    store = device.start()
    assert await store.load() == "absent"
    assert store.versions == {}
    with pytest.raises(UsageError, match="skerry-agent enroll"):
        _ = store.trust_document
    with pytest.raises(UsageError, match="skerry-agent enroll"):
        await store.refresh(FilesSource({}))


async def test_a_refresh_brings_new_targets(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    ref = repository.put_target("models/smol/1.json", b"{}")
    assert store.target(ref.path) is None
    repository.publish("models")
    await store.refresh(FilesSource(repository.files))
    assert store.target(ref.path) == ref
    assert (await device.restart()).target(ref.path) == ref


async def test_an_unchanged_repository_costs_two_requests_and_no_write(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    before = device.snapshot_of_disk()
    source = RecordingSource(repository.files)
    await store.refresh(source)
    assert source.asked == ["2.root.json", "timestamp.json"]
    assert device.snapshot_of_disk() == before


async def test_a_new_version_links_what_did_not_change(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    before = (device.folder / "trust/versions/1/role-targets.json").stat().st_ino
    repository.publish("models")
    await store.refresh(FilesSource(repository.files))
    assert [path.name for path in (device.folder / "trust/versions").iterdir()] == ["2"]
    assert (device.folder / "trust/versions/2/role-targets.json").stat().st_ino == before


async def test_months_offline_the_state_still_loads(device: Device, store: TrustStore) -> None:
    device.clock.pass_time(200 * DAY)
    again = await device.restart()
    assert again.versions == store.versions
    assert again.is_stale
    assert again.age_s == pytest.approx(200 * DAY)


async def test_a_replayed_timestamp_is_refused(repository: TufRepository, store: TrustStore) -> None:
    old = repository.files["timestamp.json"]
    repository.publish_timestamp()
    await store.refresh(FilesSource(repository.files))
    repository.files["timestamp.json"] = old
    await refused(store, repository, "metadata_rollback", "timestamp")


async def test_a_replayed_timestamp_is_refused_after_a_restart(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    old = repository.files["timestamp.json"]
    repository.publish_timestamp()
    await store.refresh(FilesSource(repository.files))
    repository.files["timestamp.json"] = old
    await refused(await device.restart(), repository, "metadata_rollback", "timestamp")


async def test_a_snapshot_that_takes_a_role_back_is_refused(
    repository: TufRepository, store: TrustStore
) -> None:
    old = repository.snapshot.meta["models.json"]
    repository.publish("models")
    await store.refresh(FilesSource(repository.files))
    repository.snapshot.meta["models.json"] = old
    repository.publish_snapshot()
    repository.publish_timestamp()
    await refused(store, repository, "metadata_rollback", "snapshot")


async def test_a_snapshot_that_drops_a_role_is_refused(repository: TufRepository, store: TrustStore) -> None:
    del repository.snapshot.meta["models.json"]
    repository.publish_snapshot()
    repository.publish_timestamp()
    await refused(store, repository, "metadata_refused", "snapshot")


async def test_a_frozen_repository_is_noticed_by_trusted_time(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    device.clock.pass_time(8 * DAY)
    await refused(store, repository, "metadata_expired", "timestamp")
    assert device.events.names == ["metadata_refused"]
    await refused(store, repository, "metadata_expired", "timestamp")
    assert device.events.names == ["metadata_refused"], "the same refusal is shown once"


async def test_a_freeze_is_noticed_although_the_clock_says_1970(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    device.clock.wall = 0.0
    again = await device.restart()
    await again.refresh(FilesSource(repository.files))
    device.time.raise_floor(START.timestamp() + 8 * DAY, "desired")
    await refused(again, repository, "metadata_expired", "timestamp")


async def test_metadata_signed_by_another_key_is_refused(
    repository: TufRepository, store: TrustStore
) -> None:
    repository.put_target("models/smol/1.json", b"{}")
    repository.publish_targets("models", signer=repository.signers["configs"])
    repository.publish_snapshot()
    repository.publish_timestamp()
    await refused(store, repository, "metadata_unsigned", "models")


async def test_a_role_cannot_sign_for_paths_that_were_not_delegated_to_it(
    repository: TufRepository, store: TrustStore
) -> None:
    ref = repository.put_target("models/smol/1.json", b"{}", role="configs")
    repository.publish("configs")
    await store.refresh(FilesSource(repository.files))
    assert store.target(ref.path) is None


async def test_a_delegated_role_cannot_replace_the_trust_document(
    repository: TufRepository, store: TrustStore
) -> None:
    before = store.trust_document
    repository.put_target(TRUST_TARGET, trust_document(repository.director, epoch=9), role="models")
    repository.publish("models")
    await store.refresh(FilesSource(repository.files))
    assert store.trust_document == before


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.models.json"])
async def test_damaged_metadata_is_refused(repository: TufRepository, store: TrustStore, name: str) -> None:
    repository.publish("models")
    repository.files[name] = repository.files[name][:-20]
    with pytest.raises(MetadataRefusedError):
        await store.refresh(FilesSource(repository.files))


@pytest.mark.parametrize(
    ("name", "role"), [("timestamp.json", "timestamp"), ("2.root.json", "root"), ("2.models.json", "models")]
)
async def test_a_huge_file_is_refused(
    repository: TufRepository, store: TrustStore, name: str, role: str
) -> None:
    repository.publish("models")
    repository.files[name] = b" " * 600_000
    await refused(store, repository, "metadata_too_large", role)


async def test_a_file_that_announces_itself_as_huge_is_not_even_asked_for(
    repository: TufRepository, store: TrustStore
) -> None:
    repository.publish_targets("models")
    repository.snapshot.meta["models.json"].length = 2**31
    repository.publish_snapshot()
    repository.publish_timestamp()
    source = RecordingSource(repository.files)
    with pytest.raises(MetadataRefusedError) as caught:
        await store.refresh(source)
    assert caught.value.code == "metadata_too_large"
    assert "2.models.json" not in source.asked


async def test_a_missing_file_is_refused(repository: TufRepository, store: TrustStore) -> None:
    repository.publish("models")
    del repository.files["2.models.json"]
    await refused(store, repository, "metadata_missing", "models")


async def test_a_refresh_torn_at_any_file_changes_nothing(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    before = store.versions
    repository.put_target("models/smol/1.json", b"{}")
    repository.put_target(TRUST_TARGET, trust_document(repository.director, epoch=2))
    repository.publish("models", "configs", "targets")
    whole = RecordingSource(repository.files)
    await TrustStoreCopy(device).refresh(whole)
    assert len(whole.asked) == 7
    for index in range(len(whole.asked)):
        with pytest.raises(WorldError, match="the link broke"):
            await store.refresh(RecordingSource(repository.files, fail_at=index))
        assert store.versions == before
        assert (await device.restart()).versions == before
    await store.refresh(FilesSource(repository.files))
    assert (await device.restart()).trust_document.epoch == 2


class TrustStoreCopy:
    """Refreshes a copy of a device's state, to learn what a whole refresh asks for."""

    def __init__(self, device: Device) -> None:
        copy = Device(device.folder.parent / f"{device.folder.name}-copy")
        shutil.copytree(device.folder, copy.folder)
        self._device = copy

    async def refresh(self, source: RecordingSource) -> None:
        await (await self._device.restart()).refresh(source)


async def test_a_full_disk_during_a_refresh_changes_nothing(
    device: Device, repository: TufRepository, store: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.versions
    repository.publish("models")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        with pytest.raises(WorldError, match="No space left"):
            await store.refresh(FilesSource(repository.files))
    assert store.versions == before
    assert (await device.restart()).versions == before
    await store.refresh(FilesSource(repository.files))
    assert (await device.restart()).versions["models"] == 2


async def test_a_source_that_hangs_is_given_up(device: Device, repository: TufRepository) -> None:
    class Hanging:
        async def fetch(self, name: str, max_bytes: int) -> bytes | None:
            await asyncio.Event().wait()
            return None

    device.limits = TrustLimits(fetch_timeout_s=0.05)
    with pytest.raises(WorldError, match="did not come within"):
        await device.start().bootstrap(repository.initial_root, repository.initial_root_sha256, Hanging())


async def test_a_chain_of_roots_is_followed(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    for role in ("root", "timestamp", "root", "snapshot", "targets"):
        repository.rotate(role)
    repository.publish("targets", "models", "configs")
    await store.refresh(FilesSource(repository.files))
    assert store.versions["root"] == 6
    assert (await device.restart()).versions == store.versions


async def test_a_root_that_the_old_root_did_not_sign_is_refused(
    repository: TufRepository, store: TrustStore
) -> None:
    other = TufRepository()
    other.publish_root()
    repository.files["2.root.json"] = other.files["2.root.json"]
    await refused(store, repository, "metadata_unsigned", "root")


async def test_a_root_that_skips_a_version_is_refused(repository: TufRepository, store: TrustStore) -> None:
    repository.publish_root()
    repository.publish_root()
    repository.files["2.root.json"] = repository.files["3.root.json"]
    await refused(store, repository, "metadata_rollback", "root")


async def test_a_revoked_key_stays_revoked_although_the_refresh_failed_later(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    thief = repository.rotate("timestamp")
    repository.publish_timestamp()
    with pytest.raises(WorldError):
        await store.refresh(RecordingSource(repository.files, fail_at=2))
    for current in (store, await device.restart()):
        repository.signers["timestamp"] = thief
        repository.publish_timestamp()
        hidden = {name: data for name, data in repository.files.items() if name != "2.root.json"}
        with pytest.raises(MetadataRefusedError) as caught:
            await current.refresh(FilesSource(hidden))
        assert (caught.value.code, caught.value.role) == ("metadata_unsigned", "timestamp")


async def test_a_rotated_timestamp_key_ends_a_fast_forward_attack(
    repository: TufRepository, store: TrustStore
) -> None:
    repository.timestamp.version = 2**31
    repository.publish_timestamp()
    await store.refresh(FilesSource(repository.files))
    repository.rotate("timestamp")
    repository.timestamp.version = 2
    repository.publish_timestamp()
    await store.refresh(FilesSource(repository.files))
    assert store.versions["timestamp"] == 3


@pytest.mark.parametrize("lost", ["current", "versions/1/role-snapshot.json", "versions/1/refresh.json"])
async def test_a_lost_state_is_reported_and_goes_back_to_enrollment(
    device: Device, repository: TufRepository, store: TrustStore, lost: str
) -> None:
    (device.folder / "trust" / lost).unlink()
    again = device.start()
    assert await again.load() == "recovered"
    assert device.events.names == ["trust_state_lost"]
    assert again.trust_document == store.trust_document
    await again.refresh(FilesSource(repository.files))
    assert (await device.restart()).versions == store.versions


async def test_a_damaged_file_is_noticed_at_load(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    repository.put_target("models/smol/1.json", b"{}")
    repository.publish("models")
    await store.refresh(FilesSource(repository.files))
    path = device.folder / "trust/versions/2/role-models.json"
    path.write_bytes(path.read_bytes().replace(b"smol", b"smal"))
    again = device.start()
    assert await again.load() == "recovered"
    assert again.versions["models"] == 1


async def test_when_everything_is_damaged_the_error_says_what_to_do(
    device: Device, store: TrustStore
) -> None:
    (device.folder / "trust/current").unlink()
    (device.folder / "trust/initial/role-timestamp.json").write_bytes(b"{}")
    with pytest.raises(TrustStateLostError, match="enroll this device again"):
        await device.start().load()


async def test_enrolling_again_in_the_same_fleet_repairs_a_damaged_state(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    (device.folder / "trust/current").unlink()
    (device.folder / "trust/initial/role-timestamp.json").write_bytes(b"{}")
    await device.start().bootstrap(
        repository.initial_root, repository.initial_root_sha256, FilesSource(repository.files)
    )
    (device.folder / "trust/current").unlink()
    assert await device.start().load() == "recovered"


async def test_left_overs_of_a_killed_refresh_do_not_hurt(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    torn = device.folder / "trust/versions/2"
    torn.mkdir()
    (torn / "role-timestamp.json").write_bytes(b"half")
    repository.publish("models")
    again = await device.restart()
    await again.refresh(FilesSource(repository.files))
    assert (await device.restart()).versions["models"] == 2


async def test_a_new_trust_document_is_followed(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    repository.put_target(TRUST_TARGET, trust_document(repository.director, epoch=2, servers=("new",)))
    repository.publish("targets")
    await store.refresh(FilesSource(repository.files))
    assert store.trust_document.authorities.servers == ("new",)
    assert (await device.restart()).trust_document.epoch == 2


async def test_an_older_epoch_is_refused(repository: TufRepository, store: TrustStore) -> None:
    repository.put_target(TRUST_TARGET, trust_document(repository.director, epoch=3))
    repository.publish("targets")
    await store.refresh(FilesSource(repository.files))
    repository.put_target(TRUST_TARGET, trust_document(repository.director, epoch=2))
    repository.publish("targets")
    await refused(store, repository, "trust_epoch_rollback", "targets")


@pytest.mark.parametrize("kind", ["other fleet", "not json", "issue time in milliseconds", "not listed"])
async def test_an_unusable_trust_document_is_refused(
    repository: TufRepository, store: TrustStore, kind: str
) -> None:
    director = repository.director
    match kind:
        case "other fleet":
            repository.put_target(TRUST_TARGET, trust_document(director, fleet="f-other"))
        case "not json":
            repository.put_target(TRUST_TARGET, b"trust me")
        case "issue time in milliseconds":
            repository.put_target(TRUST_TARGET, trust_document(director, issued_at=1_795_000_000_000))
        case _:
            del repository.targets["targets"].targets[TRUST_TARGET]
    repository.publish("targets")
    await refused(store, repository, "trust_document_refused", "targets")


async def test_a_new_epoch_heals_a_poisoned_clock(
    device: Device, repository: TufRepository, store: TrustStore
) -> None:
    device.time.raise_floor(START.timestamp() + 9 * 365 * DAY, "desired")
    repository.publish_timestamp()
    await refused(store, repository, "metadata_expired", "timestamp")
    repository.put_target(
        TRUST_TARGET, trust_document(repository.director, epoch=2, issued_at=int(START.timestamp()) + 10)
    )
    repository.publish("targets")
    await store.refresh(FilesSource(repository.files))
    assert store.trust_document.epoch == 2
    assert device.time.now() == pytest.approx(START.timestamp(), abs=60)


async def test_a_clock_that_was_poisoned_before_enrollment_does_not_prevent_it(
    device: Device, repository: TufRepository
) -> None:
    store = device.start()
    device.time.raise_floor(START.timestamp() + 9 * 365 * DAY, "certificate")
    await store.bootstrap(
        repository.initial_root, repository.initial_root_sha256, FilesSource(repository.files)
    )
    assert device.time.now() == pytest.approx(START.timestamp(), abs=60)


async def test_messages_of_the_director_are_opened_and_others_refused(
    repository: TufRepository, store: TrustStore
) -> None:
    assert store.open_down("desired", seal("desired", b'{"a":1}', [repository.director])) == b'{"a":1}'
    with pytest.raises(SignatureError):
        store.open_down("command", seal("desired", b"{}", [repository.director]))
    with pytest.raises(SignatureError):
        store.open_down("desired", seal("desired", b"{}", [TufRepository().director]))

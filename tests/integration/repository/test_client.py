"""An unmodified python-tuf client against the repository."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadHTTPError, RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from skerry_controller.keyring import Keyring, KeyringSettings, OnlineKeys
from skerry_controller.repository import (
    FolderRepositoryStore,
    Repository,
    RepositorySettings,
    RepositoryStore,
    add_target,
    create_repository,
    metadata_name,
    target_name,
)
from skerry_controller.repository.online import next_online_files
from support.repository import Fleet, trust_bytes

PATH = "models/tiny/1.json"
MANIFEST = b'{"v":1}'
NOW = datetime.now(UTC)  # the client takes its time from the clock


class StoreFetcher(FetcherInterface):
    """Fetches from the repository, and lets a test stand in the middle."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.replaced: dict[str, bytes] = {}
        self.asked: list[str] = []

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix("skerry:///")
        self.asked.append(name)
        data = self.replaced.get(name) or self._repository.get(name)
        if data is None:
            raise DownloadHTTPError(name, 404)
        return iter([data])


class Client:
    """A TUF client with its own cache; each refresh is a new ``Updater``."""

    def __init__(self, folder: Path, root: bytes, repository: Repository) -> None:
        self._folder = folder
        self._root = root
        self.fetcher = StoreFetcher(repository)
        (folder / "targets").mkdir(parents=True)

    def refreshed(self) -> Updater:
        updater = Updater(
            str(self._folder),
            "skerry:///",
            str(self._folder / "targets"),
            "skerry:///",
            self.fetcher,
            bootstrap=self._root,
        )
        updater.refresh()
        return updater

    def read(self, path: str) -> bytes | None:
        updater = self.refreshed()
        info = updater.get_targetinfo(path)
        return None if info is None else Path(updater.download_target(info)).read_bytes()


class Setup:
    """A real keyring and online keys, a folder store, and a client that trusts root version 1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keyring = Keyring.create(
            folder / "keys",
            "correct horse",
            data_folder=folder / "data",
            now=NOW,
            settings=KeyringSettings(scrypt_n=2),
        )
        self.store: RepositoryStore = FolderRepositoryStore(folder / "data" / "repository")
        online = OnlineKeys.create(folder / "data" / "keys")
        self.root = create_repository(self.store, self.keyring, online, trust_bytes(), now=NOW)
        # From here on as the server is: without the keyring.
        self.online = OnlineKeys.open(folder / "data" / "keys")
        self.repository = Repository(self.store, self.online)
        self.client = Client(folder / "client", self.root, self.repository)

    def publish(self, path: str = PATH, content: bytes = MANIFEST) -> None:
        base = self.repository.role_metadata("models")
        new = add_target(base, "models", path, content, self.keyring.signer("models"), now=NOW)
        self.repository.publish("models", new, {path: content}, now=NOW)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_a_client_finds_what_was_published(setup: Setup) -> None:
    assert setup.client.read(PATH) is None
    setup.publish()
    assert setup.client.read(PATH) == MANIFEST
    assert setup.client.read("fleet/trust.json") == setup.repository.target("fleet/trust.json")


def test_files_are_asked_for_under_the_names_of_consistent_snapshots(setup: Setup) -> None:
    setup.publish()
    setup.client.read(PATH)
    target = setup.repository.targets("models")[PATH].hashes["sha256"]
    assert setup.client.fetcher.asked == [
        "2.root.json",
        "timestamp.json",
        "2.snapshot.json",
        "1.targets.json",
        "2.models.json",
        f"models/tiny/{target}.1.json",
    ]


def test_a_client_that_knows_an_older_state_follows(setup: Setup) -> None:
    setup.publish()
    assert setup.client.read(PATH) == MANIFEST
    setup.publish("models/tiny/2.json", b"second")
    assert setup.client.read("models/tiny/2.json") == b"second"
    assert setup.client.read(PATH) == MANIFEST


def test_the_server_publishes_with_the_keyring_gone(setup: Setup) -> None:
    base = setup.repository.role_metadata("models")
    new = add_target(base, "models", PATH, MANIFEST, setup.keyring.signer("models"), now=NOW)
    shutil.rmtree(setup.keyring.folder)
    setup.repository.publish("models", new, {PATH: MANIFEST}, now=NOW)
    assert setup.client.read(PATH) == MANIFEST


def test_clients_go_on_after_snapshot_and_timestamp_were_signed_anew(setup: Setup) -> None:
    setup.publish()
    setup.client.refreshed()
    short = Repository(setup.store, setup.online, RepositorySettings(snapshot_days=30, timestamp_days=2))
    assert short.refresh_timestamp(NOW)
    versions = setup.repository.versions()
    assert (versions["snapshot"], versions["timestamp"]) == (3, 3)
    assert setup.client.read(PATH) == MANIFEST


def test_an_expired_timestamp_is_refused_until_the_server_signs_anew(setup: Setup) -> None:
    fleet = Fleet(now=NOW - timedelta(days=2))
    client = Client(setup.folder / "other", fleet.root, fleet.repository)
    with pytest.raises(RepositoryError, match="expired"):
        client.refreshed()
    fleet.repository.refresh_timestamp(NOW)
    client.refreshed()


def test_metadata_that_a_wrong_key_signed_is_refused(setup: Setup) -> None:
    """The server would not publish it; a stolen server would, with snapshot and timestamp to match."""
    wrong = CryptoSigner.generate_ed25519()
    metadata = Metadata[Targets].from_bytes(setup.repository.role_metadata("models"))
    metadata.sign(wrong)
    evil = add_target(metadata.to_bytes(), "models", PATH, b"evil", wrong, now=NOW)
    publish_as_thief(setup, evil, PATH, b"evil")
    with pytest.raises(UnsignedMetadataError):
        setup.client.read(PATH)


def publish_as_thief(setup: Setup, models: bytes, path: str, content: bytes) -> None:
    """What can be done with the online keys alone."""
    snapshot = Metadata[Snapshot].from_bytes(setup.repository.get("1.snapshot.json") or b"").signed
    timestamp = Metadata[Timestamp].from_bytes(setup.repository.get("timestamp.json") or b"").signed
    sha256 = TargetFile.from_data(path, content, ["sha256"]).hashes["sha256"]
    setup.store.put_many(
        {
            metadata_name("models", 2): models,
            target_name(path, sha256): content,
            **next_online_files(
                snapshot, timestamp, {"models": models}, setup.online, now=NOW, settings=RepositorySettings()
            ),
        }
    )


def test_a_target_that_was_altered_on_the_way_is_refused(setup: Setup) -> None:
    setup.publish()
    sha256 = setup.repository.targets("models")[PATH].hashes["sha256"]
    setup.client.fetcher.replaced[f"models/tiny/{sha256}.1.json"] = b"X" * len(MANIFEST)
    with pytest.raises(RepositoryError):
        setup.client.read(PATH)


def test_an_older_state_is_refused_by_a_client_that_saw_a_newer_one(setup: Setup) -> None:
    before = setup.repository.get("timestamp.json")
    assert before is not None
    setup.publish()
    setup.client.refreshed()
    setup.client.fetcher.replaced["timestamp.json"] = before
    with pytest.raises(RepositoryError):
        setup.client.refreshed()


def test_a_crash_before_the_timestamp_leaves_the_former_state_and_can_be_repeated(setup: Setup) -> None:
    base = setup.repository.role_metadata("models")
    new = add_target(base, "models", PATH, MANIFEST, setup.keyring.signer("models"), now=NOW)
    # What a power cut leaves when it comes right before the rename of timestamp.json.
    setup.store.put_many({"2.models.json": new, "2.snapshot.json": b"of another attempt"})
    assert setup.client.read(PATH) is None
    later = NOW + timedelta(minutes=1)
    setup.repository.publish("models", new, {PATH: MANIFEST}, now=later)
    assert setup.client.read(PATH) == MANIFEST

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, TargetFile, Targets

from skerry_controller.errors import UsageError, WorldError
from skerry_controller.repository import (
    RefusedPublicationError,
    Repository,
    RepositorySettings,
    StalePublicationError,
    TargetsRole,
    add_target,
    resign,
)
from skerry_controller.repository.client_view import load_as_client
from support.repository import NOW, Fleet, MemoryRepositoryStore, trust_bytes

PATH = "models/tiny/1.json"
TRUST = "fleet/trust.json"


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def signed(
    fleet: Fleet, path: str = PATH, content: bytes = b"manifest", role: TargetsRole = "models"
) -> bytes:
    base = fleet.repository.role_metadata(role)
    return add_target(base, role, path, content, fleet.offline.signer(role), now=NOW)


def forged(fleet: Fleet, change: Callable[[Targets], None]) -> bytes:
    """The next models.json with the right signature and any content at all."""
    metadata = Metadata[Targets].from_bytes(fleet.repository.role_metadata("models"))
    metadata.signed.version += 1
    change(metadata.signed)
    metadata.sign(fleet.offline.signer("models"))
    return metadata.to_bytes()


def files_of(fleet: Fleet) -> dict[str, bytes]:
    assert isinstance(fleet.store, MemoryRepositoryStore)
    return dict(fleet.store.files)


def test_a_published_target_is_there_for_clients_and_for_the_server(fleet: Fleet) -> None:
    done = fleet.repository.publish("models", signed(fleet), {PATH: b"manifest"}, now=NOW)
    assert (done.version, done.snapshot_version, done.added) == (2, 2, (PATH,))
    assert fleet.repository.target(PATH) == b"manifest"
    trusted = load_as_client(fleet.repository.get, NOW)
    models = trusted["models"]
    assert isinstance(models, Targets)
    sha256 = models.targets[PATH].hashes["sha256"]
    assert fleet.repository.get(f"models/tiny/{sha256}.1.json") == b"manifest"
    assert fleet.repository.get("2.models.json") == fleet.repository.role_metadata("models")


def test_publishing_the_same_again_changes_nothing(fleet: Fleet) -> None:
    metadata = signed(fleet)
    fleet.repository.publish("models", metadata, {PATH: b"manifest"}, now=NOW)
    before = files_of(fleet)
    again = fleet.repository.publish("models", metadata, {PATH: b"manifest"}, now=NOW)
    assert (again.version, again.added) == (2, ())
    assert files_of(fleet) == before


def test_two_who_signed_at_once_do_not_overwrite_each_other(fleet: Fleet) -> None:
    one, other = signed(fleet), signed(fleet, path="models/other/1.json")
    fleet.repository.publish("models", one, {PATH: b"manifest"}, now=NOW)
    with pytest.raises(StalePublicationError, match="fetch that and sign again"):
        fleet.repository.publish("models", other, {"models/other/1.json": b"manifest"}, now=NOW)


def refused(
    fleet: Fleet, metadata: bytes, files: dict[str, bytes], match: str, role: TargetsRole = "models"
) -> None:
    before = files_of(fleet)
    with pytest.raises(RefusedPublicationError, match=match):
        fleet.repository.publish(role, metadata, files, now=NOW)
    assert files_of(fleet) == before


def test_a_signature_of_another_key_is_refused(fleet: Fleet) -> None:
    metadata = Metadata[Targets].from_bytes(signed(fleet))
    metadata.sign(CryptoSigner.generate_ed25519())
    refused(fleet, metadata.to_bytes(), {PATH: b"manifest"}, "not signed by the fleet's models key")


def test_a_role_cannot_speak_for_another(fleet: Fleet) -> None:
    base = fleet.repository.role_metadata("configs")
    new = add_target(base, "configs", "configs/a/1.json", b"c", fleet.offline.signer("configs"), now=NOW)
    refused(fleet, new, {"configs/a/1.json": b"c"}, "not signed by the fleet's models key")


@pytest.mark.parametrize("junk", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_junk_is_refused(fleet: Fleet, junk: bytes) -> None:
    refused(fleet, junk, {}, "not TUF metadata")


def test_metadata_of_another_type_is_refused(fleet: Fleet) -> None:
    refused(fleet, fleet.root, {}, "instead of targets")


def test_altered_missing_and_superfluous_files_are_refused(fleet: Fleet) -> None:
    metadata = signed(fleet)
    refused(fleet, metadata, {PATH: b"manifesT"}, "does not have the bytes that were signed")
    refused(fleet, metadata, {PATH: b"manifest+"}, "does not have the bytes that were signed")
    refused(fleet, metadata, {}, "its file is missing")
    refused(fleet, metadata, {PATH: b"manifest", "models/more/1.json": b""}, "is not a new target")


def test_a_published_target_keeps_its_bytes_and_its_place(fleet: Fleet) -> None:
    fleet.repository.publish("models", signed(fleet), {PATH: b"manifest"}, now=NOW)

    def replace(targets: Targets) -> None:
        targets.targets[PATH] = TargetFile.from_data(PATH, b"other", ["sha256"])

    refused(fleet, forged(fleet, replace), {PATH: b"other"}, "published with other bytes")
    refused(fleet, forged(fleet, lambda targets: targets.targets.clear()), {}, "missing from the new")


@pytest.mark.parametrize("path", ["configs/a/1.json", TRUST, "models/A/1.json", "models/a/../1.json", "x"])
def test_a_role_cannot_name_what_is_not_its_own(fleet: Fleet, path: str) -> None:
    def name(targets: Targets) -> None:
        targets.targets[path] = TargetFile.from_data(path, b"x", ["sha256"])

    refused(fleet, forged(fleet, name), {path: b"x"}, "to name|not an artifact's|is not a")


def test_only_sha256_names_files(fleet: Fleet) -> None:
    def name(targets: Targets) -> None:
        targets.targets[PATH] = TargetFile.from_data(PATH, b"x", ["sha512", "sha256"])

    refused(fleet, forged(fleet, name), {PATH: b"x"}, "no other hash")


def test_expired_metadata_is_refused(fleet: Fleet) -> None:
    def expire(targets: Targets) -> None:
        targets.expires = NOW - timedelta(seconds=1)

    refused(fleet, forged(fleet, expire), {}, "expired at")


def test_what_is_too_large_is_refused(fleet: Fleet) -> None:
    metadata = signed(fleet)
    fleet.repository = Repository(fleet.store, fleet.online, RepositorySettings(max_metadata_bytes=100))
    refused(fleet, metadata, {PATH: b"manifest"}, "limit is 100")
    fleet.repository = Repository(fleet.store, fleet.online, RepositorySettings(max_target_bytes=3))
    refused(fleet, metadata, {PATH: b"manifest"}, "limit is 3")


def test_nothing_is_published_under_expired_offline_metadata(fleet: Fleet) -> None:
    late = NOW + timedelta(days=366)
    fleet.repository.refresh_timestamp(late)
    base = fleet.repository.role_metadata("models")
    metadata = add_target(base, "models", PATH, b"x", fleet.offline.signer("models"), now=late)
    with pytest.raises(RefusedPublicationError, match=r"root\.json is expired"):
        fleet.repository.publish("models", metadata, {PATH: b"x"}, now=late)


def test_a_new_trust_document_must_be_valid_of_this_fleet_and_not_older(fleet: Fleet) -> None:
    newer = trust_bytes(epoch=2)
    fleet.repository.publish("targets", signed(fleet, TRUST, newer, "targets"), {TRUST: newer}, now=NOW)
    assert fleet.repository.target(TRUST) == newer
    for content, match in [
        (trust_bytes(epoch=1), "epoch 1; 2 is in force"),
        (trust_bytes(fleet="f-other", epoch=2), "is of fleet f-other"),
        (b"{}", TRUST),
    ]:
        refused(fleet, signed(fleet, TRUST, content, "targets"), {TRUST: content}, match, "targets")


def test_delegations_that_would_cut_off_published_models_are_refused(fleet: Fleet) -> None:
    metadata = Metadata[Targets].from_bytes(fleet.repository.role_metadata("targets"))
    metadata.signed.version += 1
    metadata.signed.revoke_key(fleet.offline.signer("models").public_key.keyid, "models")
    metadata.signed.add_key(CryptoSigner.generate_ed25519().public_key, "models")
    metadata.sign(fleet.offline.signer("targets"))
    refused(fleet, metadata.to_bytes(), {}, "clients would refuse", "targets")


def test_a_resigned_role_is_published_without_files(fleet: Fleet) -> None:
    new = resign(
        fleet.repository.role_metadata("configs"), "configs", fleet.offline.signer("configs"), now=NOW
    )
    assert fleet.repository.publish("configs", new, {}, now=NOW).version == 2


def test_an_unknown_role_is_a_clear_error(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match="not a role"):
        fleet.repository.publish("root", fleet.root, {}, now=NOW)  # type: ignore[arg-type]  # comes from an address


def test_a_folder_without_a_repository_says_what_to_do(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match="skerry init"):
        Repository(MemoryRepositoryStore(), fleet.online).versions()


def test_lost_and_altered_files_are_named(fleet: Fleet) -> None:
    assert isinstance(fleet.store, MemoryRepositoryStore)
    name = next(name for name in fleet.store.files if name.endswith("trust.json"))
    fleet.store.files[name] = b"altered"
    with pytest.raises(WorldError, match=r"trust\.json was altered"):
        fleet.repository.target(TRUST)
    del fleet.store.files["1.models.json"]
    with pytest.raises(WorldError, match=r"lost 1\.models\.json"):
        fleet.repository.role_metadata("models")


def test_there_is_no_target_at_a_strange_path(fleet: Fleet) -> None:
    assert fleet.repository.target("../keys/director.pem") is None
    assert fleet.repository.target(PATH) is None


def hours(count: float) -> datetime:
    return NOW + timedelta(hours=count)


@pytest.mark.parametrize(
    ("now", "signed_anew"),
    [
        (hours(0), set()),
        (hours(11.9), set()),
        (hours(12.1), {"timestamp"}),
        (hours(83), {"timestamp"}),
        (hours(85), {"timestamp", "snapshot"}),
        (hours(24 * 30), {"timestamp", "snapshot"}),
        # The clock was ahead when they were signed: what lives longer than it should is replaced.
        (hours(-1), {"timestamp", "snapshot"}),
    ],
)
def test_what_is_half_spent_is_signed_anew(fleet: Fleet, now: datetime, signed_anew: set[str]) -> None:
    assert fleet.repository.refresh_timestamp(now) == bool(signed_anew)
    versions = fleet.repository.versions()
    assert {role for role, version in versions.items() if version > 1} == signed_anew
    load_as_client(fleet.repository.get, now)
    assert not fleet.repository.refresh_timestamp(now)

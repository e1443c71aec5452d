from datetime import timedelta

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets

from skerry_controller.errors import PeerError, UsageError
from skerry_controller.repository import (
    RepositorySettings,
    TargetsRole,
    add_target,
    create_repository,
    resign,
)
from skerry_controller.repository.client_view import load_as_client
from skerry_protocol.errors import NameSyntaxError, ProtocolError
from support.repository import NOW, Fleet, MemoryKeys, MemoryRepositoryStore, trust_bytes

PATH = "models/tiny/1.json"


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def add(fleet: Fleet, base: bytes, path: str = PATH, content: bytes = b"manifest") -> bytes:
    return add_target(base, "models", path, content, fleet.offline.signer("models"), now=NOW)


def test_a_new_repository_is_one_that_clients_accept(fleet: Fleet) -> None:
    trusted = load_as_client(fleet.repository.get, NOW)
    assert trusted.root.consistent_snapshot
    assert set(fleet.repository.versions().values()) == {1}
    assert fleet.repository.target("fleet/trust.json") == fleet.trust


def test_each_role_has_its_own_key_and_expiry(fleet: Fleet) -> None:
    root = Metadata[Root].from_bytes(fleet.root).signed
    key_ids = [key_id for role in root.roles.values() for key_id in role.keyids]
    delegations = Metadata[Targets].from_bytes(fleet.repository.role_metadata("targets")).signed.delegations
    assert delegations is not None
    key_ids += delegations.keys
    assert len(set(key_ids)) == len(key_ids) == 6
    days = {role: (expires - NOW).days for role, expires in fleet.repository.expiries().items()}
    assert days == {"root": 365, "targets": 365, "models": 365, "configs": 365, "snapshot": 7, "timestamp": 1}


def test_the_first_root_is_pinned_in_the_keyring(fleet: Fleet) -> None:
    assert fleet.offline.root == fleet.root == fleet.repository.get("1.root.json")


def test_a_repository_is_never_made_over_another(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match="already"):
        create_repository(fleet.store, MemoryKeys(), MemoryKeys(), fleet.trust, now=NOW)


def test_an_invalid_trust_document_makes_no_repository() -> None:
    store = MemoryRepositoryStore()
    with pytest.raises(ProtocolError):
        create_repository(store, MemoryKeys(), MemoryKeys(), b"{}", now=NOW)
    assert store.files == {}


def test_adding_a_target_raises_the_version_and_renews_the_expiry(fleet: Fleet) -> None:
    base = fleet.repository.role_metadata("models")
    later = NOW + timedelta(days=100)
    signer = fleet.offline.signer("models")
    new = (
        Metadata[Targets]
        .from_bytes(add_target(base, "models", PATH, b"x", signer, now=later, custom={"kind": "model"}))
        .signed
    )
    assert new.version == 2
    assert new.expires == later + timedelta(days=365)
    assert new.targets[PATH].length == 1
    assert new.targets[PATH].custom == {"kind": "model"}


def test_adding_the_same_bytes_again_changes_nothing(fleet: Fleet) -> None:
    once = add(fleet, fleet.repository.role_metadata("models"))
    assert add(fleet, once) == once


def test_an_artifact_cannot_get_other_bytes(fleet: Fleet) -> None:
    once = add(fleet, fleet.repository.role_metadata("models"))
    with pytest.raises(UsageError, match="choose a new version"):
        add(fleet, once, content=b"other")


def test_the_trust_document_can_be_replaced(fleet: Fleet) -> None:
    base = fleet.repository.role_metadata("targets")
    new = add_target(
        base, "targets", "fleet/trust.json", trust_bytes(epoch=2), fleet.offline.signer("targets"), now=NOW
    )
    assert Metadata[Targets].from_bytes(new).signed.version == 2


@pytest.mark.parametrize(
    "path", ["models/../1.json", "models/Tiny/1.json", "models/a/b/1.json", "other/a/1.json", ""]
)
def test_a_path_outside_the_grammar_is_not_signed(fleet: Fleet, path: str) -> None:
    with pytest.raises(NameSyntaxError):
        add(fleet, fleet.repository.role_metadata("models"), path=path)


def test_a_path_of_another_role_is_a_bug_of_the_caller(fleet: Fleet) -> None:
    with pytest.raises(ValueError, match="does not belong"):
        add(fleet, fleet.repository.role_metadata("models"), path="configs/a/1.json")


def test_what_a_stolen_controller_slipped_in_is_not_signed(fleet: Fleet) -> None:
    metadata = Metadata[Targets].from_bytes(fleet.repository.role_metadata("models"))
    thief = CryptoSigner.generate_ed25519()
    slipped = Metadata[Targets].from_bytes(
        add_target(_signed_by(metadata, thief), "models", "models/evil/1.json", b"evil", thief, now=NOW)
    )
    with pytest.raises(PeerError, match="nothing was signed"):
        add(fleet, slipped.to_bytes())
    slipped.signatures = Metadata.from_bytes(fleet.repository.role_metadata("models")).signatures
    with pytest.raises(PeerError, match="nothing was signed"):
        add(fleet, slipped.to_bytes())


def _signed_by(metadata: Metadata[Targets], signer: CryptoSigner) -> bytes:
    copy = Metadata[Targets].from_bytes(metadata.to_bytes())
    copy.sign(signer)
    return copy.to_bytes()


@pytest.mark.parametrize("role", ["targets", "snapshot"])
def test_metadata_of_another_kind_is_not_signed(fleet: Fleet, role: str) -> None:
    data = fleet.store.get(f"1.{role}.json")
    assert data is not None
    with pytest.raises(PeerError, match="nothing was signed"):
        add(fleet, data)


@pytest.mark.parametrize("junk", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_junk_is_not_signed(fleet: Fleet, junk: bytes) -> None:
    with pytest.raises(PeerError, match="nothing was signed"):
        add(fleet, junk)


@pytest.mark.parametrize("role", ["targets", "models", "configs"])
def test_resigning_keeps_the_targets(fleet: Fleet, role: TargetsRole) -> None:
    base = fleet.repository.role_metadata(role)
    settings = RepositorySettings(targets_days=10)
    new = (
        Metadata[Targets]
        .from_bytes(resign(base, role, fleet.offline.signer(role), now=NOW, settings=settings))
        .signed
    )
    old = Metadata[Targets].from_bytes(base).signed
    assert (new.version, new.targets, new.expires) == (2, old.targets, NOW + timedelta(days=10))

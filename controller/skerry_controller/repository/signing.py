"""Signing with the operator's offline keys: runs in the command where the keyring is, never in the server."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, TargetFile, Targets

from skerry_controller.errors import PeerError, UsageError
from skerry_controller.keyring import OfflineRole
from skerry_controller.repository.naming import (
    DELEGATED_PATHS,
    MUTABLE_TARGETS,
    TargetsRole,
    metadata_name,
    role_of,
    target_name,
)
from skerry_controller.repository.online import OnlineSigners, first_online_files
from skerry_controller.repository.settings import RepositorySettings
from skerry_controller.repository.store import RepositoryStore
from skerry_protocol.names import TRUST_TARGET
from skerry_protocol.trust_document import decode_trust_document


class OfflineKeys(Protocol):
    """The part of a keyring that a new repository needs."""

    def signer(self, role: OfflineRole) -> Signer:
        """The role's key."""

    def pin_root(self, root: bytes) -> None:
        """Keep the first root metadata beside the keys."""


def create_repository(
    store: RepositoryStore,
    keyring: OfflineKeys,
    online: OnlineSigners,
    trust_document: bytes,
    *,
    now: datetime,
    settings: RepositorySettings | None = None,
) -> bytes:
    """Make and store version 1 of everything; return the root metadata, which the keyring pins.

    Raises:
        UsageError: There is a repository already.
        ProtocolError: The trust document is not valid.
    """
    settings = settings or RepositorySettings()
    if store.get(metadata_name(Root.type, 1)) is not None:
        raise UsageError("there is a repository already: a controller was set up there")
    decode_trust_document(trust_document)
    root = _first_root(keyring, online, now, settings)
    trust = TargetFile.from_data(TRUST_TARGET, trust_document, ["sha256"])
    roles: dict[TargetsRole, bytes] = {
        "targets": _first_targets(keyring, trust, now, settings),
        **{role: _empty_role(keyring.signer(role), now, settings) for role in ("models", "configs")},
    }
    keyring.pin_root(root)
    store.put_many(
        {
            metadata_name(Root.type, 1): root,
            target_name(TRUST_TARGET, trust.hashes["sha256"]): trust_document,
            **{metadata_name(role, 1): data for role, data in roles.items()},
            **first_online_files(roles, online, now=now, settings=settings),
        }
    )
    return root


def add_target(
    role_metadata: bytes,
    role: TargetsRole,
    path: str,
    content: bytes,
    signer: Signer,
    *,
    now: datetime,
    custom: Mapping[str, Any] | None = None,
    settings: RepositorySettings | None = None,
) -> bytes:
    """The next version of a role's metadata, with one more target (or a new ``fleet/trust.json``).

    The current metadata comes from the controller, which is not trusted: it must carry a signature
    of the same key, or else signing its successor would sign whatever a thief put into it.

    Args:
        role_metadata: The role's current metadata.
        role: ``models``, ``configs`` or ``targets``.
        path: Target path, such as ``models/NAME/VERSION.json``.
        content: The target's bytes.
        signer: The role's offline key.
        now: Current time.
        custom: JSON that is kept beside the target's hash.
        settings: Life of the new metadata.

    Returns:
        New metadata, or ``role_metadata`` itself when it has this very target already.

    Raises:
        PeerError: The current metadata is not what this key signed.
        UsageError: The target exists with other bytes.
        NameSyntaxError: The path is not one of this role's.
    """
    if role_of(path) != role:
        raise ValueError(f"target {path} does not belong to the role {role}")
    metadata = _load_own(role_metadata, role, signer)
    target = TargetFile.from_data(path, content, ["sha256"])
    if custom is not None:
        target.unrecognized_fields["custom"] = dict(custom)
    existing = metadata.signed.targets.get(path)
    if existing == target:
        return role_metadata
    if existing is not None and path not in MUTABLE_TARGETS:
        raise UsageError(f"{path} is published already with other bytes: choose a new version")
    metadata.signed.targets[path] = target
    return _sign_next(metadata, signer, now, settings or RepositorySettings())


def resign(
    role_metadata: bytes,
    role: TargetsRole,
    signer: Signer,
    *,
    now: datetime,
    settings: RepositorySettings | None = None,
) -> bytes:
    """The same targets in a new version with a new expiry.

    Raises:
        PeerError: The current metadata is not what this key signed.
    """
    return _sign_next(_load_own(role_metadata, role, signer), signer, now, settings or RepositorySettings())


def _load_own(data: bytes, role: TargetsRole, signer: Signer) -> Metadata[Targets]:
    foreign = f"this keyring's {role} key did not sign the controller's {role} metadata: nothing was signed"
    try:
        metadata = Metadata[Targets].from_bytes(data)
    except (RepositoryError, ValueError) as error:
        raise PeerError(f"the controller's {role} metadata is malformed: nothing was signed") from error
    if metadata.signed.type != Targets.type or bool(metadata.signed.delegations) != (role == Targets.type):
        raise PeerError(f"the controller sent other metadata than that of {role}: nothing was signed")
    signature = metadata.signatures.get(signer.public_key.keyid)
    if signature is None:
        raise PeerError(foreign)
    try:
        signer.public_key.verify_signature(signature, metadata.signed_bytes)
    except Exception as error:  # securesystemslib has several, of which none is a common base
        raise PeerError(foreign) from error
    return metadata


def _sign_next(
    metadata: Metadata[Targets], signer: Signer, now: datetime, settings: RepositorySettings
) -> bytes:
    metadata.signed.version += 1
    metadata.signed.expires = _expiry(now, settings.targets_days)
    metadata.sign(signer)
    return metadata.to_bytes()


def _first_root(
    keyring: OfflineKeys, online: OnlineSigners, now: datetime, settings: RepositorySettings
) -> bytes:
    root = Root(version=1, expires=_expiry(now, settings.root_days), consistent_snapshot=True)
    root.add_key(keyring.signer("root").public_key, "root")
    root.add_key(keyring.signer("targets").public_key, "targets")
    root.add_key(online.signer("snapshot").public_key, "snapshot")
    root.add_key(online.signer("timestamp").public_key, "timestamp")
    metadata = Metadata(root)
    metadata.sign(keyring.signer("root"))
    return metadata.to_bytes()


def _first_targets(
    keyring: OfflineKeys, trust: TargetFile, now: datetime, settings: RepositorySettings
) -> bytes:
    roles: dict[str, DelegatedRole] = {
        role: DelegatedRole(role, keyids=[], threshold=1, terminating=True, paths=paths)
        for role, paths in DELEGATED_PATHS.items()
    }
    targets = Targets(
        version=1,
        expires=_expiry(now, settings.targets_days),
        targets={TRUST_TARGET: trust},
        delegations=Delegations(keys={}, roles=roles),
    )
    targets.add_key(keyring.signer("models").public_key, "models")
    targets.add_key(keyring.signer("configs").public_key, "configs")
    metadata = Metadata(targets)
    metadata.sign(keyring.signer("targets"))
    return metadata.to_bytes()


def _empty_role(signer: Signer, now: datetime, settings: RepositorySettings) -> bytes:
    metadata = Metadata(Targets(version=1, expires=_expiry(now, settings.targets_days)))
    metadata.sign(signer)
    return metadata.to_bytes()


def _expiry(now: datetime, days: int) -> datetime:
    return now.astimezone(UTC) + timedelta(days=days)

"""What the server checks before it publishes: a function of values.

The server cannot sign for the roles of targets; it can only refuse what clients would refuse, and
what would break the promise that an artifact's name and version always mean the same bytes.
"""

from collections.abc import Mapping
from datetime import datetime

from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from skerry_controller.repository.errors import RefusedPublicationError, StalePublicationError
from skerry_controller.repository.naming import MUTABLE_TARGETS, TargetsRole, role_of
from skerry_controller.repository.settings import RepositorySettings
from skerry_protocol.errors import NameSyntaxError, ProtocolError
from skerry_protocol.names import TRUST_TARGET
from skerry_protocol.trust_document import decode_trust_document


def parse_role(data: bytes, role: TargetsRole, settings: RepositorySettings) -> Metadata[Targets]:
    """Parse a role's metadata.

    Raises:
        RefusedPublicationError: Too long, malformed, or of another type.
    """
    if len(data) > settings.max_metadata_bytes:
        raise RefusedPublicationError(
            f"{role}.json has {len(data)} bytes; the limit is {settings.max_metadata_bytes}"
        )
    try:
        metadata = Metadata[Targets].from_bytes(data)
    except (RepositoryError, ValueError, RecursionError) as error:
        raise RefusedPublicationError(f"{role}.json is not TUF metadata: {error}") from error
    if metadata.signed.type != Targets.type:
        raise RefusedPublicationError(f"{role}.json holds {metadata.signed.type} metadata instead of targets")
    return metadata


def check_next_version(
    role: TargetsRole,
    new: Metadata[Targets],
    current: Metadata[Targets],
    delegator: Root | Targets,
    now: datetime,
) -> None:
    """The right key, the next version, not expired.

    Raises:
        RefusedPublicationError: One of them is not so.
        StalePublicationError: The version shows that somebody else published first.
    """
    try:
        delegator.verify_delegate(role, new.signed_bytes, new.signatures)
    except (RepositoryError, ValueError) as error:
        raise RefusedPublicationError(
            f"{role}.json is not signed by the fleet's {role} key: sign with the keyring of this fleet"
        ) from error
    if new.signed.version != current.signed.version + 1:
        raise StalePublicationError(
            f"{role}.json has version {new.signed.version}, but {current.signed.version} is published: "
            "fetch that and sign again"
        )
    if new.signed.is_expired(now):
        raise RefusedPublicationError(f"{role}.json expired at {new.signed.expires}: sign again")


def check_targets(
    role: TargetsRole,
    new: Targets,
    current: Targets,
    files: Mapping[str, bytes],
    settings: RepositorySettings,
) -> dict[str, TargetFile]:
    """Every old target stays as it was, every new one is this role's and comes with its bytes.

    Returns:
        The targets whose files must be stored.

    Raises:
        RefusedPublicationError: Otherwise.
    """
    for path, target in current.targets.items():
        if path not in new.targets:
            raise RefusedPublicationError(f"{path} is published and missing from the new {role}.json")
        if new.targets[path] != target and path not in MUTABLE_TARGETS:
            raise RefusedPublicationError(f"{path} is published with other bytes: choose a new version")
    added = {path: target for path, target in new.targets.items() if current.targets.get(path) != target}
    for path in files:
        if path not in added:
            raise RefusedPublicationError(f"{path} is not a new target of {role}.json")
    for path, target in added.items():
        _check_added(role, path, target, files.get(path), settings)
    return added


def _check_added(
    role: TargetsRole, path: str, target: TargetFile, content: bytes | None, settings: RepositorySettings
) -> None:
    try:
        responsible = role_of(path)
    except NameSyntaxError as error:
        raise RefusedPublicationError(str(error)) from error
    if responsible != role:
        raise RefusedPublicationError(f"{path} is {responsible}'s to name, not {role}'s")
    if set(target.hashes) != {"sha256"}:
        raise RefusedPublicationError(f"{path} must have a SHA-256 and no other hash")
    if content is None:
        raise RefusedPublicationError(f"{path} is named in {role}.json, but its file is missing")
    if len(content) > settings.max_target_bytes:
        raise RefusedPublicationError(
            f"{path} has {len(content)} bytes; the limit is {settings.max_target_bytes}"
        )
    try:
        target.verify_length_and_hashes(content)
    except LengthOrHashMismatchError as error:
        raise RefusedPublicationError(f"{path} does not have the bytes that were signed: {error}") from error


def check_trust_document(new: bytes, current: bytes) -> None:
    """A new trust document is valid, of the same fleet, and not of an earlier epoch.

    Raises:
        RefusedPublicationError: Otherwise.
    """
    try:
        after = decode_trust_document(new)
    except ProtocolError as error:
        raise RefusedPublicationError(f"{TRUST_TARGET}: {error}") from error
    before = decode_trust_document(current)
    if after.fleet != before.fleet:
        raise RefusedPublicationError(f"{TRUST_TARGET} is of fleet {after.fleet}, this is {before.fleet}")
    if after.epoch < before.epoch:
        raise RefusedPublicationError(f"{TRUST_TARGET} has epoch {after.epoch}; {before.epoch} is in force")

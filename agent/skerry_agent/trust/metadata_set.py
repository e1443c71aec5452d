"""Verified repository metadata: bytes in, or a refusal out.

python-tuf's ``TrustedMetadataSet`` does the verification. It is a private module there, and its reference
time has no public setter, so nothing else here touches it (pinned by ``tuf~=7.0``). Importing this module
imports tuf: do it late.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from tuf.api import exceptions
from tuf.api.metadata import MetaFile, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from skerry_agent.trust.errors import MetadataRefusedError
from skerry_protocol.deltas import parse_delta_path
from skerry_protocol.desired import TargetRef

_TOP_LEVEL = ("root", "timestamp", "snapshot", "targets")
_ROLE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_CODES: tuple[tuple[type[Exception], str, str], ...] = (
    # The first that fits counts.
    (exceptions.ExpiredMetadataError, "metadata_expired", "has expired"),
    (exceptions.BadVersionNumberError, "metadata_rollback", "has a version that may not follow"),
    (exceptions.UnsignedMetadataError, "metadata_unsigned", "is not signed by enough of the role's keys"),
    (exceptions.LengthOrHashMismatchError, "metadata_mismatch", "is not the file that was announced"),
    (DeserializationError, "metadata_malformed", "cannot be read"),
)


class MetadataSet:
    """Metadata of one repository, each file verified when it comes in, at one reference time."""

    def __init__(self, initial_root: bytes, reference_time_s: float) -> None:
        """Start from a root that is trusted already.

        Args:
            initial_root: Trusted root metadata; its expiry does not matter, that of the last root does.
            reference_time_s: Against which all expiries are judged, Unix seconds.

        Raises:
            MetadataRefusedError: It is no root metadata, or not signed by itself.
        """
        with _refusing("root"):
            self._set = TrustedMetadataSet(initial_root, EnvelopeType.METADATA)
        self._set.reference_time = datetime.fromtimestamp(reference_time_s, UTC)
        # Kept here, since the set's own iterator gives metadata without names.
        self._delegated: list[str] = []
        self._check_consistent()

    @property
    def root_version(self) -> int:
        """Version of the newest root."""
        return self._set.root.version

    def update_root(self, data: bytes) -> None:
        """Take the next root (client workflow, 5.3).

        Raises:
            MetadataRefusedError: Its version is not the next, or old and new keys did not both sign.
        """
        with _refusing("root"):
            self._set.update_root(data)
        self._check_consistent()

    def update_timestamp(self, data: bytes) -> bool:
        """Take a timestamp (5.4); False when it has the version of the one that is held.

        Raises:
            MetadataRefusedError: Wrong signature, older than the held one, or expired. An expired
                one still counts for the protection against rollback.
        """
        with _refusing("timestamp"):
            try:
                self._set.update_timestamp(data)
            except exceptions.EqualVersionNumberError:
                if self._set.timestamp.is_expired(self._set.reference_time):
                    raise exceptions.ExpiredMetadataError("timestamp.json is expired") from None
                return False
            return True

    def update_snapshot(self, data: bytes, *, held: bool = False) -> None:
        """Take the snapshot (5.5).

        Args:
            data: The file.
            held: It was verified before, so that it counts for rollback protection even when the
                timestamp names a newer one.

        Raises:
            MetadataRefusedError: Not the one that the timestamp names, or older than the held one.
        """
        with _refusing("snapshot"):
            self._set.update_snapshot(data, trusted=held)

    def update_role(self, role: str, parent: str, data: bytes) -> None:
        """Take the top-level targets (5.6, parent ``root``) or a delegated role.

        Raises:
            MetadataRefusedError: Not the one that the snapshot names, or its parent's keys did not sign.
        """
        with _refusing(role):
            self._set.update_delegated_targets(data, role, parent)
        if role != "targets" and role not in self._delegated:
            self._delegated.append(role)

    @property
    def snapshot_file(self) -> tuple[int, int | None]:
        """Version and, when the timestamp gives it, length in bytes of the snapshot."""
        return _version_and_length(self._set.timestamp.snapshot_meta)

    def role_file(self, role: str) -> tuple[int, int | None] | None:
        """Version and length in bytes of a targets role; None when the snapshot does not list it."""
        meta = self._set.snapshot.meta.get(f"{role}.json")
        return None if meta is None else _version_and_length(meta)

    def delegated_by(self, role: str) -> list[str]:
        """Names of the roles to which ``role`` delegates, in the order of precedence.

        Raises:
            MetadataRefusedError: A name cannot stand in a file name.
        """
        delegations = self._targets(role).delegations
        if delegations is None:
            return []
        names = list(
            delegations.roles if delegations.roles is not None else _succinct(delegations.succinct_roles)
        )
        for name in names:
            if not _ROLE_NAME.fullmatch(name):
                raise MetadataRefusedError(
                    "metadata_malformed",
                    role,
                    f"{role} delegates to the unusable role name {name[:80]!r}",
                )
        return names

    def versions(self) -> dict[str, int]:
        """Role -> version of everything that was verified."""
        return {
            role: self._set[role].version for role in (*_TOP_LEVEL, *self._delegated) if role in self._set
        }

    def top_level_target(self, path: str) -> TargetRef | None:
        """A target that the top-level targets role itself lists; no delegation is followed."""
        return _ref(path, self._set.targets.targets.get(path))

    def target(self, path: str) -> TargetRef | None:
        """The most trusted role's entry for ``path`` (client workflow, 5.6.7: pre-order, depth first)."""
        to_visit, visited = ["targets"], set[str]()
        while to_visit:
            role = to_visit.pop()
            if role in visited or role not in self._set:
                continue
            visited.add(role)
            targets = self._targets(role)
            if (entry := targets.targets.get(path)) is not None:
                return _ref(path, entry)
            children: list[str] = []
            if targets.delegations is not None:
                for child, terminating in targets.delegations.get_roles_for_target(path):
                    children.append(child)
                    if terminating:
                        to_visit = []
                        break
            to_visit.extend(reversed(children))
        return None

    def deltas(self, file_sha256: str) -> list[TargetRef]:
        """The delta indexes that the fleet's keys signed for a file, by path."""
        paths = {
            path
            for role in ("targets", *self._delegated)
            for path in self._targets(role).targets
            if file_sha256 in path and (name := parse_delta_path(path)) and name.file_sha256 == file_sha256
        }
        # Looked up as any target is: only the role counts to which the path is delegated.
        return [ref for path in sorted(paths) if (ref := self.target(path)) is not None]

    def listed_sha256s(self) -> set[str]:
        """Hashes of all targets that any verified role lists."""
        return {
            entry.hashes["sha256"]
            for role in ("targets", *self._delegated)
            for entry in self._targets(role).targets.values()
            if "sha256" in entry.hashes
        }

    def targets_in(self, folder: str) -> list[TargetRef]:
        """All targets whose path is directly below ``folder``, as verified roles list them."""
        listed = (
            _ref(path, entry)
            for role in ("targets", *self._delegated)
            for path, entry in self._targets(role).targets.items()
            if path.rpartition("/")[0] == folder
        )
        return [ref for ref in listed if ref is not None]

    def _targets(self, role: str) -> Targets:
        targets = self._set[role]
        if not isinstance(targets, Targets):
            raise TypeError(f"{role} is not a targets role")
        return targets

    def _check_consistent(self) -> None:
        if not self._set.root.consistent_snapshot:
            raise MetadataRefusedError(
                "metadata_refused", "root", "the repository's root does not use consistent snapshots"
            )


def _version_and_length(meta: MetaFile) -> tuple[int, int | None]:
    return meta.version, meta.length


def _succinct(roles: object) -> Iterator[str]:
    get_roles = getattr(roles, "get_roles", None)
    return iter(()) if get_roles is None else get_roles()


def _ref(path: str, entry: TargetFile | None) -> TargetRef | None:
    if entry is None or "sha256" not in entry.hashes:
        return None
    return TargetRef(path=path, sha256=entry.hashes["sha256"], length=entry.length)


@contextmanager
def _refusing(role: str) -> Iterator[None]:
    """Turn python-tuf's errors into ours; an order mistake of ours stays a RuntimeError."""
    try:
        yield
    except exceptions.RepositoryError as error:
        code, sentence = next(
            ((code, sentence) for kind, code, sentence in _CODES if isinstance(error, kind)),
            ("metadata_refused", "was refused"),
        )
        detail = str(error) or type(error).__name__
        raise MetadataRefusedError(
            code, role, f"the repository's {role} metadata {sentence}: {detail}"
        ) from error

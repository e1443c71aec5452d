"""The repository as the server runs it: it publishes what was signed elsewhere, and keeps it fresh."""

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from skerry_controller.errors import UsageError, WorldError
from skerry_controller.repository.acceptance import (
    check_next_version,
    check_targets,
    check_trust_document,
    parse_role,
)
from skerry_controller.repository.client_view import load_as_client
from skerry_controller.repository.errors import RefusedPublicationError
from skerry_controller.repository.naming import (
    TARGETS_ROLES,
    TIMESTAMP_NAME,
    TargetsRole,
    metadata_name,
    role_of,
    target_name,
)
from skerry_controller.repository.online import (
    OnlineSigners,
    carried_files,
    is_due,
    next_online_files,
    next_timestamp,
)
from skerry_controller.repository.settings import RepositorySettings
from skerry_controller.repository.store import RepositoryStore
from skerry_protocol.errors import NameSyntaxError
from skerry_protocol.names import TRUST_TARGET

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published now.

    Attributes:
        role: The role whose metadata was given.
        version: The role's version.
        snapshot_version: Version of the snapshot that names it.
        added: Target paths that are new; none when this metadata was published before.
    """

    role: TargetsRole
    version: int
    snapshot_version: int
    added: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CarriedMetadata:
    """All metadata of one state of the repository, with a timestamp and a snapshot of a longer life.

    Attributes:
        files: By the names that TUF clients ask for; targets are not among them.
        expires: When the first part of it expires.
    """

    files: Mapping[str, bytes]
    expires: datetime


class Repository:
    """One controller's repository. Blocking: call it from a thread. One instance owns the store."""

    def __init__(
        self, store: RepositoryStore, online: OnlineSigners, settings: RepositorySettings | None = None
    ) -> None:
        self._store = store
        self._online = online
        self._settings = settings or RepositorySettings()
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes | None:
        """A file by the name that a TUF client asks for; None when there is none."""
        return self._store.get(name)

    def role_metadata(self, role: TargetsRole) -> bytes:
        """The role's current metadata, for a command to add to and sign.

        Raises:
            UsageError: There is no such role, or no repository.
            WorldError: The store lost a file.
        """
        if role not in TARGETS_ROLES:
            raise UsageError(f"{role!r} is not a role of this repository: {', '.join(TARGETS_ROLES)} are")
        return self._read(metadata_name(role, self._snapshot().meta[f"{role}.json"].version))

    def targets(self, role: TargetsRole) -> Mapping[str, TargetFile]:
        """The role's current targets by path."""
        return Metadata[Targets].from_bytes(self.role_metadata(role)).signed.targets

    def target(self, path: str) -> bytes | None:
        """The published bytes of a target, such as a manifest; None when there is no such target.

        Raises:
            WorldError: The store lost or altered the file.
        """
        try:
            info = self.targets(role_of(path)).get(path)
        except NameSyntaxError:
            return None
        if info is None:
            return None
        content = self._read(target_name(path, info.hashes["sha256"]))
        if hashlib.sha256(content).hexdigest() != info.hashes["sha256"]:
            raise WorldError(
                f"the stored file of {path} was altered: restore the controller's data from a backup"
            )
        return content

    def target_sha256(self, path: str) -> str:
        """The hash of a published target.

        Raises:
            NameSyntaxError: No role is responsible for the path.
            UsageError: It is not published.
        """
        info = self.targets(role_of(path)).get(path)
        if info is None:
            raise UsageError(f"{path} is not published")
        return str(info.hashes["sha256"])

    def versions(self) -> Mapping[str, int]:
        """Current version of each role, snapshot and timestamp included."""
        timestamp, snapshot = self._timestamp(), self._snapshot()
        roles = {name.removesuffix(".json"): meta.version for name, meta in snapshot.meta.items()}
        return {**roles, Snapshot.type: snapshot.version, Timestamp.type: timestamp.version}

    def expiries(self) -> Mapping[str, datetime]:
        """When each role's metadata expires; those of root and targets need the keyring to renew."""
        roles: dict[str, datetime] = {
            role: Metadata.from_bytes(self.role_metadata(role)).signed.expires for role in TARGETS_ROLES
        }
        return {
            Root.type: self._root().expires,
            **roles,
            Snapshot.type: self._snapshot().expires,
            Timestamp.type: self._timestamp().expires,
        }

    def publish(
        self, role: TargetsRole, role_metadata: bytes, target_files: Mapping[str, bytes], *, now: datetime
    ) -> Publication:
        """Publish a role's next version with the files of its new targets.

        Giving the current version again is no error, so that a command whose answer was lost can repeat.

        Args:
            role: ``models``, ``configs`` or ``targets``.
            role_metadata: Metadata that the role's offline key signed.
            target_files: Bytes of each new target, by target path.
            now: Current time.

        Raises:
            StalePublicationError: Somebody else published first.
            RefusedPublicationError: Clients would refuse it, or it changes or drops a published target.
            UsageError: There is no such role.
            WorldError: The store failed; what was published before is still served.
        """
        with self._lock:
            current_bytes = self.role_metadata(role)
            if role_metadata == current_bytes:
                return self._publication(role, role_metadata, ())
            new = parse_role(role_metadata, role, self._settings)
            current = Metadata[Targets].from_bytes(current_bytes)
            check_next_version(role, new, current, self._delegator(role), now)
            added = check_targets(role, new.signed, current.signed, target_files, self._settings)
            if TRUST_TARGET in added:
                check_trust_document(target_files[TRUST_TARGET], self.target(TRUST_TARGET) or b"")
            self._store_checked(role, role_metadata, added, target_files, now)
            log.info("repository_published", role=role, version=new.signed.version, added=sorted(added))
            return self._publication(role, role_metadata, tuple(sorted(added)))

    def refresh_timestamp(self, now: datetime) -> bool:
        """Sign timestamp (and snapshot) anew when they are close to expiry.

        To be called before serving starts, and then a few times in each ``timestamp_days``.

        Returns:
            Whether something was signed.
        """
        settings = self._settings
        with self._lock:
            snapshot, timestamp = self._snapshot(), self._timestamp()
            if is_due(snapshot, settings.snapshot_days, now, settings):
                files = next_online_files(snapshot, timestamp, {}, self._online, now=now, settings=settings)
            elif is_due(timestamp, settings.timestamp_days, now, settings):
                files = next_timestamp(timestamp, self._online, now=now, settings=settings)
            else:
                return False
            self._store.put_many(files)
            log.info("repository_refreshed", files=sorted(files))
            return True

    def issue_carried(self, valid: timedelta, *, now: datetime) -> CarriedMetadata:
        """Sign the current state for devices that it will reach without a network.

        There is one line of version numbers: what is carried takes the next number, and what is served
        takes the one after it, with its usual short life. So a device may see them in either order: from
        the carried state it follows the served one, and the other way round it holds something newer.

        Args:
            valid: How long timestamp and snapshot shall count; no longer than what offline keys signed.
            now: Current time.

        Raises:
            ValueError: ``valid`` is not within ``max_carried_days``.
            RefusedPublicationError: Metadata of an offline key has expired.
            WorldError: The store failed; nothing was issued.
        """
        settings = self._settings
        if not timedelta() < valid <= timedelta(days=settings.max_carried_days):
            raise ValueError(f"metadata cannot be issued for {valid}")
        with self._lock:
            snapshot, timestamp = self._snapshot(), self._timestamp()
            signed = {Root.type: self._root().expires} | {
                role: Metadata.from_bytes(self.role_metadata(role)).signed.expires for role in TARGETS_ROLES
            }
            first = min(signed, key=lambda role: signed[role])
            expires = min(now.astimezone(UTC).replace(microsecond=0) + valid, signed[first])
            if expires <= now:
                raise RefusedPublicationError(f"{first}.json expired at {expires}: sign it again first")
            files = carried_files(snapshot, timestamp, self._online, expires)
            files |= self._offline_files(snapshot)
            load_as_client(files.get, now)
            self._store.put_many(
                next_online_files(snapshot, timestamp, {}, self._online, now=now, settings=settings)
            )
            log.info("repository_carried", snapshot=snapshot.version, expires=expires.isoformat())
            return CarriedMetadata(files, expires)

    def _offline_files(self, snapshot: Snapshot) -> dict[str, bytes]:
        """All roots, and the roles that a snapshot names."""
        names = [metadata_name(Root.type, version) for version in range(1, self._root().version + 1)]
        names += [
            metadata_name(file.removesuffix(".json"), meta.version) for file, meta in snapshot.meta.items()
        ]
        return {name: self._read(name) for name in names}

    def _store_checked(
        self,
        role: TargetsRole,
        role_metadata: bytes,
        added: Mapping[str, TargetFile],
        target_files: Mapping[str, bytes],
        now: datetime,
    ) -> None:
        version = Metadata.from_bytes(role_metadata).signed.version
        files = {target_name(path, info.hashes["sha256"]): target_files[path] for path, info in added.items()}
        files[metadata_name(role, version)] = role_metadata
        files |= next_online_files(
            self._snapshot(),
            self._timestamp(),
            {role: role_metadata},
            self._online,
            now=now,
            settings=self._settings,
        )
        try:
            load_as_client(lambda name: files.get(name) or self._store.get(name), now)
        except RepositoryError as error:
            raise RefusedPublicationError(f"clients would refuse the repository: {error}") from error
        self._store.put_many(files)

    def _publication(self, role: TargetsRole, data: bytes, added: tuple[str, ...]) -> Publication:
        version = Metadata.from_bytes(data).signed.version
        return Publication(role, version, self._snapshot().version, added)

    def _delegator(self, role: TargetsRole) -> Root | Targets:
        if role == Targets.type:
            return self._root()
        return Metadata[Targets].from_bytes(self.role_metadata("targets")).signed

    def _root(self) -> Root:
        version = 1
        data = self._read(metadata_name(Root.type, version))
        while (newer := self._store.get(metadata_name(Root.type, version + 1))) is not None:
            version, data = version + 1, newer
        return Metadata[Root].from_bytes(data).signed

    def _timestamp(self) -> Timestamp:
        data = self._store.get(TIMESTAMP_NAME)
        if data is None:
            raise UsageError("there is no repository: run 'skerry init'")
        return Metadata[Timestamp].from_bytes(data).signed

    def _snapshot(self) -> Snapshot:
        name = metadata_name(Snapshot.type, self._timestamp().snapshot_meta.version)
        return Metadata[Snapshot].from_bytes(self._read(name)).signed

    def _read(self, name: str) -> bytes:
        data = self._store.get(name)
        if data is None:
            raise WorldError(f"the repository lost {name}: restore the controller's data from a backup")
        return data

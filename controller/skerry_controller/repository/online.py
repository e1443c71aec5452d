"""Snapshot and timestamp: what the server itself signs. Functions of values."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Signed, Snapshot, Timestamp

from skerry_controller.repository.naming import TIMESTAMP_NAME, TargetsRole, metadata_name
from skerry_controller.repository.settings import RepositorySettings

_HASHES = ["sha256"]


class OnlineSigners(Protocol):
    """The part of the online keys that the repository needs."""

    def signer(self, role: Literal["snapshot", "timestamp"]) -> Signer:
        """The role's key."""


def first_online_files(
    roles: Mapping[TargetsRole, bytes], online: OnlineSigners, *, now: datetime, settings: RepositorySettings
) -> dict[str, bytes]:
    """Snapshot and timestamp of a new repository, under the names of their files."""
    snapshot = Snapshot(version=1, meta={})
    for role, data in roles.items():
        snapshot.meta[f"{role}.json"] = MetaFile.from_data(1, data, _HASHES)
    return _sign_both(snapshot, Timestamp(version=1), online, now, settings)


def next_online_files(
    snapshot: Snapshot,
    timestamp: Timestamp,
    changed: Mapping[TargetsRole, bytes],
    online: OnlineSigners,
    *,
    now: datetime,
    settings: RepositorySettings,
) -> dict[str, bytes]:
    """The snapshot and timestamp that follow, with the changed roles in them."""
    for role, data in changed.items():
        version = Metadata.from_bytes(data).signed.version
        snapshot.meta[f"{role}.json"] = MetaFile.from_data(version, data, _HASHES)
    snapshot.version += 1
    timestamp.version += 1
    return _sign_both(snapshot, timestamp, online, now, settings)


def carried_files(
    snapshot: Snapshot, timestamp: Timestamp, online: OnlineSigners, expires: datetime
) -> dict[str, bytes]:
    """The same state once more, good until ``expires``: for devices that it reaches without a network."""
    snapshot.version += 1
    timestamp.version += 1
    return _sign(snapshot, timestamp, online, expires, expires)


def next_timestamp(
    timestamp: Timestamp, online: OnlineSigners, *, now: datetime, settings: RepositorySettings
) -> dict[str, bytes]:
    """The same state with a new expiry."""
    timestamp.version += 1
    return {TIMESTAMP_NAME: _sign_timestamp(timestamp, online, _after(now, settings.timestamp_days))}


def is_due(signed: Signed, days: int, now: datetime, settings: RepositorySettings) -> bool:
    """Whether too little of a life of ``days`` is left (or more than a whole one: the clock was wrong)."""
    left = signed.expires - now
    return not timedelta(days=days) * settings.renewal_share <= left <= timedelta(days=days)


def _sign_both(
    snapshot: Snapshot,
    timestamp: Timestamp,
    online: OnlineSigners,
    now: datetime,
    settings: RepositorySettings,
) -> dict[str, bytes]:
    return _sign(
        snapshot, timestamp, online, _after(now, settings.snapshot_days), _after(now, settings.timestamp_days)
    )


def _sign(
    snapshot: Snapshot,
    timestamp: Timestamp,
    online: OnlineSigners,
    snapshot_expires: datetime,
    timestamp_expires: datetime,
) -> dict[str, bytes]:
    snapshot.expires = snapshot_expires
    metadata = Metadata(snapshot)
    metadata.sign(online.signer("snapshot"))
    data = metadata.to_bytes()
    timestamp.snapshot_meta = MetaFile.from_data(snapshot.version, data, _HASHES)
    return {
        metadata_name(Snapshot.type, snapshot.version): data,
        TIMESTAMP_NAME: _sign_timestamp(timestamp, online, timestamp_expires),
    }


def _after(now: datetime, days: int) -> datetime:
    return now.astimezone(UTC) + timedelta(days=days)


def _sign_timestamp(timestamp: Timestamp, online: OnlineSigners, expires: datetime) -> bytes:
    timestamp.expires = expires
    metadata = Metadata(timestamp)
    metadata.sign(online.signer("timestamp"))
    return metadata.to_bytes()

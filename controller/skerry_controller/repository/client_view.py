"""What a TUF client would say to a state of the repository, before any client sees it."""

from collections.abc import Callable
from datetime import UTC, datetime

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Root, Snapshot, Targets
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from skerry_controller.repository.naming import TIMESTAMP_NAME, metadata_name


def load_as_client(read: Callable[[str], bytes | None], now: datetime) -> TrustedMetadataSet:
    """Verify the whole state, all delegated roles included, as a client that knows root version 1 does.

    The class is internal to python-tuf, whose version is pinned; it is the code that devices run.

    Raises:
        RepositoryError: A client would refuse it.
    """
    trusted = TrustedMetadataSet(_required(read, metadata_name(Root.type, 1)), EnvelopeType.METADATA)
    trusted.reference_time = now.astimezone(UTC)
    while (data := read(metadata_name(Root.type, trusted.root.version + 1))) is not None:
        trusted.update_root(data)
    trusted.update_timestamp(_required(read, TIMESTAMP_NAME))
    trusted.update_snapshot(
        _required(read, metadata_name(Snapshot.type, trusted.timestamp.snapshot_meta.version))
    )
    meta = trusted.snapshot.meta
    trusted.update_targets(_required(read, metadata_name(Targets.type, meta["targets.json"].version)))
    delegations = trusted.targets.delegations
    for role in delegations.roles or () if delegations else ():
        info = meta.get(f"{role}.json")
        if info is None:
            raise RepositoryError(f"the snapshot does not name {role}.json")
        trusted.update_delegated_targets(
            _required(read, metadata_name(role, info.version)), role, Targets.type
        )
    return trusted


def _required(read: Callable[[str], bytes | None], name: str) -> bytes:
    data = read(name)
    if data is None:
        raise RepositoryError(f"{name} is missing")
    return data

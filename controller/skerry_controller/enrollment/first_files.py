"""The repository's files for a new device's first refresh, so that it needs no second request."""

from collections.abc import Iterator
from typing import Protocol

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from skerry_controller.errors import WorldError
from skerry_controller.repository import TIMESTAMP_NAME, metadata_name, target_name
from skerry_protocol.names import TRUST_TARGET


class RepositoryFiles(Protocol):
    """Files of the repository by the names that TUF clients ask for."""

    def get(self, name: str) -> bytes | None:
        """The file, or None."""


def first_files(repository: RepositoryFiles) -> dict[str, bytes]:
    """All roots, timestamp, snapshot, targets, delegated roles, and the trust document. Blocking.

    The timestamp is read first: what it leads to is versioned, so a publication meanwhile does no harm.

    Raises:
        WorldError: The repository lost a file.
    """
    files = dict(_roots(repository))
    timestamp = files[TIMESTAMP_NAME] = _read(repository, TIMESTAMP_NAME)
    version = Metadata[Timestamp].from_bytes(timestamp).signed.snapshot_meta.version
    name = metadata_name(Snapshot.type, version)
    snapshot = files[name] = _read(repository, name)
    for role, meta in Metadata[Snapshot].from_bytes(snapshot).signed.meta.items():
        name = metadata_name(role.removesuffix(".json"), meta.version)
        files[name] = _read(repository, name)
        if role == "targets.json":
            trust = Metadata[Targets].from_bytes(files[name]).signed.targets[TRUST_TARGET]
            trust_name = target_name(TRUST_TARGET, trust.hashes["sha256"])
            files[trust_name] = _read(repository, trust_name)
    return files


def _roots(repository: RepositoryFiles) -> Iterator[tuple[str, bytes]]:
    version = 1
    while (root := repository.get(metadata_name(Root.type, version))) is not None:
        yield metadata_name(Root.type, version), root
        version += 1


def _read(repository: RepositoryFiles, name: str) -> bytes:
    data = repository.get(name)
    if data is None:
        raise WorldError(f"the repository lost {name}: restore the controller's data from a backup")
    return data

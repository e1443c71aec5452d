"""Signed manifests and config bundles for those who follow a desired state."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.trust.errors import MetadataRefusedError, TargetNotYetVisibleError, TargetRefusedError
from skerry_agent.trust.sources import MetadataSource
from skerry_agent.trust.store import TrustStore
from skerry_protocol.desired import TargetRef

log = structlog.get_logger(__name__)

_REPOSITORY_ROLES = frozenset({"root", "timestamp", "snapshot"})


class FleetTargets:
    """Reads signed targets and refreshes the metadata when that is needed. One request at a time.

    Args:
        store: Verifies and keeps.
        source: The repository.
        carried_bytes: How many bytes ever came from there, as they were carried.
    """

    def __init__(
        self, store: TrustStore, source: MetadataSource, carried_bytes: Callable[[], int] = lambda: 0
    ) -> None:
        self._store = store
        self._source = source
        self._carried_bytes = carried_bytes
        self._lock = asyncio.Lock()

    @property
    def carried_bytes(self) -> int:
        """Bytes that ever came over the network for metadata and targets, packed as they came."""
        return self._carried_bytes()

    async def manifest(self, ref: TargetRef, minimum_versions: Mapping[str, int]) -> bytes:
        """The bytes of a target (a manifest or a config bundle), verified.

        Nothing is asked of the network when the target is signed in the held metadata and cached.

        Args:
            ref: The director's choice.
            minimum_versions: TUF role -> version from which it is visible.

        Raises:
            TargetNotYetVisibleError: Try again later: it is not visible yet, or the repository's metadata is
                not acceptable now (which a broker could cause as well).
            TargetRefusedError: It is not what the fleet's keys signed, or nobody entitled signed it.
            WorldError: The repository cannot be reached or is too slow, or the disk refused.
            UsageError: Nothing is trusted yet.
        """
        async with self._lock:
            if self._store.target(ref.path) != ref:
                await self._refresh(ref)
            elif self._is_behind(minimum_versions):
                await self._look_for_more()
            return await self._store.fetch_target(ref, self._source, minimum_versions=minimum_versions)

    def deltas(self, file_sha256: str) -> list[TargetRef]:
        """The signed delta indexes of a file, as far as this device's metadata name them. Asks nobody."""
        return self._store.deltas(file_sha256)

    async def delta(self, ref: TargetRef) -> bytes:
        """The verified bytes of a delta index.

        Raises:
            TargetNotYetVisibleError, TargetRefusedError, WorldError, UsageError: As for a manifest.
        """
        async with self._lock:
            return await self._store.fetch_target(ref, self._source)

    def _is_behind(self, minimum_versions: Mapping[str, int]) -> bool:
        held = self._store.versions
        return any(held.get(role, 0) < version for role, version in minimum_versions.items())

    async def _look_for_more(self) -> None:
        """The director knows newer metadata: deltas may be among them. Nothing depends on them."""
        try:
            await self._store.refresh(self._source)
        except AgentError as error:
            log.info("newer_metadata_not_read", error=str(error))

    async def _refresh(self, ref: TargetRef) -> None:
        try:
            await self._store.refresh(self._source)
        except MetadataRefusedError as error:
            # The snapshot vouches for the bytes of targets roles. When those are wrongly signed, it was the
            # publisher's doing and stays so; anything else may be the transport's, and pass.
            if error.code == "metadata_unsigned" and error.role not in _REPOSITORY_ROLES:
                raise TargetRefusedError(error.code, str(error)) from error
            raise TargetNotYetVisibleError(f"{ref.path} cannot be looked up: {error}") from error

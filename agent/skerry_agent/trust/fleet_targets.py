"""Signed manifests and config bundles for those who follow a desired state."""

import asyncio
from collections.abc import Mapping

from skerry_agent.trust.errors import MetadataRefusedError, TargetNotYetVisibleError, TargetRefusedError
from skerry_agent.trust.sources import MetadataSource
from skerry_agent.trust.store import TrustStore
from skerry_protocol.desired import TargetRef

_REPOSITORY_ROLES = frozenset({"root", "timestamp", "snapshot"})


class FleetTargets:
    """Reads signed targets and refreshes the metadata when that is needed. One request at a time."""

    def __init__(self, store: TrustStore, source: MetadataSource) -> None:
        self._store = store
        self._source = source
        self._lock = asyncio.Lock()

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
            return await self._store.fetch_target(ref, self._source, minimum_versions=minimum_versions)

    async def _refresh(self, ref: TargetRef) -> None:
        try:
            await self._store.refresh(self._source)
        except MetadataRefusedError as error:
            # The snapshot vouches for the bytes of targets roles. When those are wrongly signed, it was the
            # publisher's doing and stays so; anything else may be the transport's, and pass.
            if error.code == "metadata_unsigned" and error.role not in _REPOSITORY_ROLES:
                raise TargetRefusedError(error.code, str(error)) from error
            raise TargetNotYetVisibleError(f"{ref.path} cannot be looked up: {error}") from error

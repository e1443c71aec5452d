"""The seam between rooms that need each other: the session needs the engine, the engine the session."""

from collections.abc import AsyncIterator, Sequence

from skerry_agent.sync import NotConnectedError, Requester
from skerry_agent.updates.sources import Pace
from skerry_protocol.requests import Capability


class ControllerLink:
    """The requester of a session that is made later; until then nobody is connected."""

    def __init__(self) -> None:
        self.requester: Requester | None = None

    def carried_bytes(self) -> int:
        """Bytes that came for files of the repository, as they were carried."""
        return 0 if self.requester is None else self.requester.repository_bytes

    async def fetch(self, name: str, max_bytes: int) -> bytes | None:
        """One file of the TUF repository."""
        return await self._connected().fetch(name, max_bytes)

    def read_ranges(
        self, sha256: str, spans: Sequence[tuple[int, int]], pace: Pace
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Bytes of a blob."""
        return self._connected().read_ranges(sha256, spans, pace)

    async def capability(self, sha256: str) -> Capability:
        """Short-lived addresses of a blob."""
        return await self._connected().capability(sha256)

    def _connected(self) -> Requester:
        if self.requester is None:
            raise NotConnectedError("there is no session with the controller yet")
        return self.requester

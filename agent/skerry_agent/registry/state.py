"""The catalog in memory, as of the last committed change, and the one lock over files and catalog."""

import asyncio
from collections.abc import Callable, Mapping
from sqlite3 import Connection
from types import MappingProxyType

from skerry_agent.database import Database
from skerry_agent.registry.artifact import InstalledArtifact, Slot
from skerry_agent.registry.catalog import Catalog
from skerry_agent.registry.errors import ModelNotFoundError

Listener = Callable[[], None]


class CatalogState:
    """Slots and artifacts that any coroutine may read without waiting.

    Attributes:
        lock: Held by what looks at files and catalog together: no garbage is collected between the rename of
            a file and its row.
    """

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self.database = database
        self.lock = asyncio.Lock()
        self.slots: Mapping[str, Slot] = MappingProxyType({})
        self.artifacts: tuple[InstalledArtifact, ...] = ()
        self._catalog = catalog
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have ``listener`` called after every refresh, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def refresh(self) -> None:
        """Read slots and artifacts again, after a change was committed."""

        def both(connection: Connection) -> tuple[dict[str, Slot], list[InstalledArtifact]]:
            return self._catalog.slots(connection), self._catalog.artifacts(connection)

        slots, artifacts = await self.database.read(both)
        self.slots, self.artifacts = MappingProxyType(slots), tuple(artifacts)
        for listener in self._listeners:
            listener()

    def exact(self, ref: str, target_sha256: str | None = None) -> InstalledArtifact:
        """The artifact with this reference, the latest when several manifests have it.

        Raises:
            ModelNotFoundError: It is not installed, or its file is missing.
        """
        for artifact in self.artifacts:
            if artifact.ref == ref and target_sha256 in (None, artifact.target_sha256):
                if artifact.broken:
                    raise ModelNotFoundError(f"the file of {ref} is missing or damaged: get it again")
                return artifact
        names = sorted({artifact.ref for artifact in self.artifacts})
        raise ModelNotFoundError(f"{ref} is not installed; installed are: {', '.join(names) or 'none'}")

"""Takes files that a person brings into the registry, as ``local/NAME@VERSION``."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from skerry_agent.events import EventSink
from skerry_agent.registry import importing, naming
from skerry_agent.registry.artifact import InstalledArtifact, NewArtifact, Progress
from skerry_agent.registry.errors import ModelRefusedError, disk_errors
from skerry_agent.registry.files import FileStore
from skerry_agent.registry.state import CatalogState
from skerry_agent.registry.storage import Storage


class Taker:
    """Copies or moves files in.

    Args:
        state: The catalog.
        store: The files.
        storage: Room for them.
        insert: Puts an artifact into the catalog, under the state's lock.
        events: Told of each; None tells nobody.
    """

    def __init__(
        self,
        state: CatalogState,
        store: FileStore,
        storage: Storage,
        insert: Callable[[NewArtifact], Awaitable[None]],
        events: EventSink | None,
    ) -> None:
        self._state = state
        self._store = store
        self._storage = storage
        self._insert = insert
        self._events = events

    async def copy(
        self, path: Path, ref: str, base: str | None, progress: Progress | None
    ) -> InstalledArtifact:
        """See ``Registry.import_file``."""
        ref = importing.local_ref(ref)
        source = await asyncio.to_thread(importing.inspect, path, self._base(base))
        await self._storage.reserve(source.length)
        temporary = self._store.temporary_path(f"import-{secrets.token_hex(8)}")
        with self._storage.promised(source.length):
            try:
                new = await asyncio.to_thread(importing.copy, source, temporary, ref, progress)
                await self._adopt(temporary, new)
            finally:
                await asyncio.to_thread(self._store.disk.remove, temporary)
        return await self._finish(new)

    async def move(self, path: Path, ref: str, base: str | None) -> InstalledArtifact:
        """See ``Registry.take_file``."""
        ref = importing.local_ref(ref)
        source = await asyncio.to_thread(importing.inspect, path, self._base(base))
        new = await asyncio.to_thread(importing.take, source, ref)
        await self._adopt(path, new)
        return await self._finish(new)

    def _base(self, name: str | None) -> InstalledArtifact | None:
        if name is None:
            return None
        base = naming.resolve_pair(name, self._state.slots, self._state.artifacts).model
        if base.broken:
            raise ModelRefusedError(f"the file of {base.ref} is missing or damaged: get it again first")
        return base

    async def _adopt(self, temporary: Path, new: NewArtifact) -> None:
        async with self._state.lock:
            self._check_free(new)
            if await asyncio.to_thread(self._store.length, new.file_sha256) != new.length:
                with disk_errors("installing", temporary):
                    await asyncio.to_thread(self._store.adopt, temporary, new.file_sha256)
            await self._insert(new)

    def _check_free(self, new: NewArtifact) -> None:
        for artifact in self._state.artifacts:
            if artifact.ref == new.ref and artifact.file_sha256 != new.file_sha256:
                raise ModelRefusedError(
                    f"{new.ref} exists already with other bytes: import the file under another version, "
                    f"or remove {new.ref} first"
                )
        needs = new.base_sha256
        if needs is not None and all(artifact.file_sha256 != needs for artifact in self._state.artifacts):
            raise ModelRefusedError(f"the base of {new.ref} was removed meanwhile: import it again first")

    async def _finish(self, new: NewArtifact) -> InstalledArtifact:
        if self._events is not None:
            await self._events.emit(
                "model_imported", audit=True, ref=new.ref, file_sha256=new.file_sha256, bytes=new.length
            )
        return self._state.exact(new.ref)

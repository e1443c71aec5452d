"""The registry's door: what is installed, what serves where, and room for more."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Self

import structlog

from skerry_agent import durable
from skerry_agent.database import Database
from skerry_agent.events import EventSink
from skerry_agent.registry import catalog, importing, naming
from skerry_agent.registry.artifact import (
    ChunkPlace,
    DiskUsage,
    InstalledArtifact,
    NewArtifact,
    Pair,
    Progress,
    RegistryLimits,
    Slot,
    is_slot_for,
    local_slot,
)
from skerry_agent.registry.disk import Disk
from skerry_agent.registry.errors import (
    ModelInUseError,
    SlotError,
    disk_errors,
)
from skerry_agent.registry.files import FileStore
from skerry_agent.registry.garbage import adapters_on, same
from skerry_agent.registry.partial import PartialDownload
from skerry_agent.registry.state import CatalogState, Listener
from skerry_agent.registry.storage import Storage
from skerry_agent.registry.taking import Taker
from skerry_protocol.manifest import Chunk
from skerry_protocol.records import Value

log = structlog.get_logger(__name__)


class Registry:
    """The models on this device. Open it with :meth:`open`; one process at a time.

    ``slots_now`` and ``artifacts_now`` are what the last committed change left, for callers that cannot wait;
    ``subscribe`` tells when they changed.
    """

    def __init__(
        self,
        state: CatalogState,
        store: FileStore,
        *,
        limits: RegistryLimits,
        events: EventSink | None,
        clock: Callable[[], float],
    ) -> None:
        self._state = state
        self._database = state.database
        self._store = store
        self._storage = Storage(state, store, limits, clock)
        self._taker = Taker(state, store, self._storage, self._insert, events)
        self._events = events
        self._clock = clock

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        limits: RegistryLimits | None = None,
        events: EventSink | None = None,
        clock: Callable[[], float] = time.time,
        disk: Disk | None = None,
    ) -> Self:
        """Open the registry in ``folder``, or make one, and hold catalog and files against each other.

        An artifact whose file is missing or has another length becomes ``broken`` (event ``model_broken``);
        files that nothing refers to are removed.

        Raises:
            DatabaseError: The catalog cannot be used.
            NoSpaceError, StorageError: The disk failed.
        """
        store = FileStore(folder, disk or Disk())
        with disk_errors("preparing", folder):
            await asyncio.to_thread(durable.make_folder, folder)
            await asyncio.to_thread(store.prepare)
        database = await Database.open(folder / "catalog.db", catalog.MIGRATIONS)
        state = CatalogState(database, catalog.Catalog(store.path))
        registry = cls(state, store, limits=limits or RegistryLimits(), events=events, clock=clock)
        try:
            await registry._check_files()
            await registry.collect_garbage()
        except BaseException:
            await database.close()
            raise
        return registry

    async def close(self) -> None:
        """Journal open downloads and close the catalog."""
        await self._storage.close()
        await self._database.close()

    # Reading.

    @property
    def slots_now(self) -> Mapping[str, Slot]:
        """Slots by name as of the last change."""
        return self._state.slots

    @property
    def artifacts_now(self) -> Sequence[InstalledArtifact]:
        """Artifacts, the latest first, as of the last change."""
        return self._state.artifacts

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have ``listener`` called, on the event loop, after every change of slots or artifacts.

        Returns a function that ends this.
        """
        return self._state.subscribe(listener)

    async def artifacts(self) -> list[InstalledArtifact]:
        """All installed artifacts, the latest first."""
        return list(self._state.artifacts)

    async def slots(self) -> list[Slot]:
        """All slots, by name."""
        return list(self._state.slots.values())

    async def find(self, name: str) -> InstalledArtifact:
        """The artifact that a channel, line, name, ``name@version`` or ``local/name`` means.

        Raises:
            ModelNotFoundError: There is none; the message lists what exists.
        """
        return naming.resolve(name, self._state.slots, self._state.artifacts)

    async def find_pair(self, name: str) -> Pair:
        """The model, and the adapters on it, that answer under a name (also ``model+adapter``).

        Raises:
            ModelNotFoundError: There is none, or an adapter's base is another one or not here.
        """
        return naming.resolve_pair(name, self._state.slots, self._state.artifacts)

    async def stored(self, sha256: str, length: int) -> Path | None:
        """The whole file with this digest, or ``None`` when it is not here with that length."""
        found = await asyncio.to_thread(self._store.length, sha256)
        return self._store.path(sha256) if found == length else None

    async def locate_chunks(self, hashes: Sequence[str]) -> dict[str, list[ChunkPlace]]:
        """Chunk hash -> where its bytes are, in whole files and in downloads. Check them: disks decay."""
        return await self._storage.locate_chunks(hashes)

    # Slots.

    async def activate(
        self,
        slot: str,
        ref: str,
        *,
        target_sha256: str | None = None,
        adapters: Sequence[InstalledArtifact] = (),
    ) -> Slot:
        """Let an artifact serve in a slot, atomically; what served is remembered for :meth:`rollback`.

        Args:
            slot: A channel for signed artifacts, ``local/NAME`` for a local one.
            ref: ``name@version`` or ``local/name@version``; in ``local/NAME`` also the base of its adapter.
            target_sha256: Which manifest, when several of one name and version are installed.
            adapters: Adapters that serve with it.

        Raises:
            ModelNotFoundError: No such artifact, or a file is missing.
            SlotError: The artifact may not serve in that slot, or an adapter was not made for it.
        """
        if not is_slot_for(slot, adapters[-1].ref if adapters else ref):
            raise SlotError(f"{ref} cannot serve in {slot}: a local model serves in local/NAME only")
        async with self._state.lock:
            artifact = self._state.exact(ref, target_sha256)
            found = tuple(self._state.exact(each.ref, each.target_sha256) for each in adapters)
            for adapter in found:
                if adapter.base_sha256 != artifact.file_sha256:
                    raise SlotError(f"{adapter.ref} cannot serve on {ref}: it was not made for that file")
            old = self._state.slots.get(slot, Slot(slot))
            pair = Pair(artifact, found)
            again = old.serving is not None and same(old.serving, pair)
            new = Slot.of(slot, pair, old.before if again else old.serving)
            await self._write_slot(new)
        if not again:
            await self._tell_activated(slot, pair)
        return new

    async def activate_local(self, ref: str) -> Slot:
        """Let ``[local/]NAME@VERSION`` serve in ``local/NAME``; an adapter serves there on its base.

        Raises:
            ModelNotFoundError: It was not imported, or its base is gone.
        """
        ref = self._state.exact(importing.local_ref(ref)).ref
        pair = naming.resolve_pair(ref, self._state.slots, self._state.artifacts)
        model = pair.model
        return await self.activate(
            local_slot(ref), model.ref, target_sha256=model.target_sha256, adapters=pair.adapters
        )

    async def rollback(self, slot: str, *, held_by: str | None = None) -> Slot:
        """Go back to the previous version of a slot; the one that served is no longer remembered.

        Raises:
            SlotError: There is no such slot, or nothing to go back to.
        """
        async with self._state.lock:
            old = self._state.slots.get(slot)
            if old is None:
                there = ", ".join(self._state.slots) or "none"
                raise SlotError(f"there is no slot {slot!r}; there is {there}")
            if old.before is None or old.before.broken:
                raise SlotError(f"{slot} has no previous version on this device to go back to")
            new = Slot.of(slot, old.before, None, held_by)
            await self._write_slot(new)
        await self._tell_activated(slot, old.before, rolled_back=True)
        return new

    async def deactivate(self, slot: str) -> None:
        """Let nothing serve in a slot any more; an unknown slot is fine."""
        async with self._state.lock:
            await self._database.write(lambda c: catalog.delete_slot(c, slot))
            await self._state.refresh()

    # Artifacts.

    async def import_file(
        self, path: Path, ref: str, progress: Progress | None = None, *, base: str | None = None
    ) -> InstalledArtifact:
        """Copy a file into the registry as ``local/NAME@VERSION``; the same bytes again are fine.

        Args:
            path: A GGUF file.
            ref: ``NAME@VERSION``, with or without ``local/``.
            progress: Called from a worker thread with bytes done and in total.
            base: The name of the model that an adapter was made for; None for a model.

        Raises:
            NameSyntaxError: ``ref`` breaks the grammar.
            ModelNotFoundError: There is no such base.
            ModelRefusedError: The file is unusable or does not fit its base, or the name is taken.
            NoSpaceError: No room on the disk or in the budget.
            StorageError: The disk failed.
        """
        return await self._taker.copy(path, ref, base, progress)

    async def take_file(self, path: Path, ref: str, *, base: str | None = None) -> InstalledArtifact:
        """As :meth:`import_file`, with a file of our own on the registry's filesystem, which is moved.

        Reserve the room for it (:meth:`reserve`) before it is written. What is refused stays at ``path``.

        Raises:
            NameSyntaxError, ModelNotFoundError, ModelRefusedError, StorageError: As :meth:`import_file`.
        """
        return await self._taker.move(path, ref, base)

    async def install(self, new: NewArtifact) -> InstalledArtifact:
        """Put a signed artifact, whose file is stored already, into the catalog. Doing it again is fine.

        Raises:
            RuntimeError: The file is not stored, or the artifact has no manifest.
        """
        if new.target_sha256 is None:
            raise RuntimeError(f"{new.ref} has no signed manifest: import it instead")
        async with self._state.lock:
            if await self.stored(new.file_sha256, new.length) is None:
                raise RuntimeError(f"the file of {new.ref} is not in the registry")
            with disk_errors("installing", self._store.path(new.file_sha256)):
                await asyncio.to_thread(self._store.settle, new.file_sha256)
            await self._insert(new)
        return self._state.exact(new.ref, new.target_sha256)

    async def remove(self, ref: str) -> None:
        """Remove an artifact, and its file when nothing else needs it.

        Raises:
            ModelNotFoundError: No such artifact.
            ModelInUseError: It is active, or the version to go back to, in a slot; or an adapter needs it.
        """
        async with self._state.lock:
            matching = [a for a in self._state.artifacts if a.ref == ref]
            if not matching:
                self._state.exact(ref)
            self._check_unused(ref, matching)

            def delete(connection: Connection) -> None:
                for artifact in matching:
                    catalog.delete_artifact(connection, artifact)

            await self._database.write(delete)
            await self._state.refresh()
        await self.collect_garbage()
        await self._emit("model_removed", audit=True, ref=ref)

    # Downloads and room.

    async def open_partial(self, sha256: str, length: int, chunks: Sequence[Chunk]) -> PartialDownload:
        """Begin a download, or go on with one; room for the whole file is reserved on the disk.

        Raises:
            NoSpaceError: No room, also after collecting garbage; says how many bytes are missing.
            StorageError: The disk failed.
            RuntimeError: This download is open already.
        """
        return await self._storage.open_partial(sha256, length, chunks)

    async def pin(self, sha256: str, length: int) -> None:
        """Keep a file, and its download, until it serves in a slot or is released. Downloads are pinned."""
        await self._storage.pin(sha256, length)

    async def release(self, sha256: str) -> None:
        """Say that a file, or its download, is not wanted for now: it stays until its room is needed."""
        await self._storage.release(sha256)

    async def room_bytes(self) -> int:
        """So many bytes more could be written, with all collected that may be; below 0 when too full."""
        return await self._storage.room_bytes()

    async def reserve(self, need_bytes: int) -> None:
        """Make sure that ``need_bytes`` more fit, collecting garbage when they do not.

        Raises:
            NoSpaceError: They do not fit; says how many bytes are missing.
        """
        await self._storage.reserve(need_bytes)

    async def usage(self) -> DiskUsage:
        """How many bytes are used, allowed and free."""
        return await self._storage.usage()

    async def collect_garbage(self, need_bytes: int = 0) -> int:
        """Remove what nothing needs, and more while less than ``need_bytes`` was freed; returns bytes freed.

        Never removed: what is active or previous in a slot, what a person imported, a download under way.
        """
        return await self._storage.collect(need_bytes)

    # Inside.

    async def _check_files(self) -> None:
        await self._state.refresh()
        missing: list[InstalledArtifact] = []
        for artifact in self._state.artifacts:
            broken = await self.stored(artifact.file_sha256, artifact.length) is None
            if broken != artifact.broken:
                mark = partial(catalog.mark_broken, file_sha256=artifact.file_sha256, broken=broken)
                await self._database.write(mark)
            if broken and not artifact.broken:
                missing.append(artifact)
        await self._state.refresh()
        for artifact in missing:
            log.error("model_broken", ref=artifact.ref, path=str(artifact.path))
            message = f"the file of {artifact.ref} is missing or has another length"
            await self._emit("model_broken", ref=artifact.ref, code="file_missing", message=message)

    def _check_unused(self, ref: str, matching: Sequence[InstalledArtifact]) -> None:
        for slot in self._state.slots.values():
            pairs = [pair for pair in (slot.serving, slot.before) if pair is not None]
            if any(part.ref == ref for pair in pairs for part in pair.parts):
                raise ModelInUseError(
                    f"{ref} is active or previous in {slot.name}: activate another version first"
                )
        for artifact in matching:
            for adapter in adapters_on(artifact, self._state.artifacts):
                raise ModelInUseError(f"{ref} is the base of {adapter.ref}: remove that adapter first")

    async def _tell_activated(self, slot: str, pair: Pair, **more: Value) -> None:
        if pair.adapters:
            more["adapters"] = ", ".join(adapter.ref for adapter in pair.adapters)
        await self._emit("model_activated", audit=True, slot=slot, ref=pair.model.ref, **more)

    async def _insert(self, new: NewArtifact) -> None:
        now = self._clock()
        await self._database.write(lambda c: catalog.insert(c, new, now))
        await self._state.refresh()

    async def _write_slot(self, slot: Slot) -> None:
        now = self._clock()
        await self._database.write(lambda c: catalog.set_slot(c, slot, now))
        await self._state.refresh()

    async def _emit(self, name: str, *, audit: bool = False, **data: Value) -> None:
        if self._events is not None:
            await self._events.emit(name, audit=audit, **data)

"""Models that stay loaded: those of the settings, and those that a person pinned."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from skerry_agent.durable import write_atomic
from skerry_agent.errors import UsageError
from skerry_agent.pairs import model_file
from skerry_agent.registry import ModelNotFoundError, Pair, Registry
from skerry_agent.runtime import ModelFile, ModelPool

log = structlog.get_logger(__name__)

MAX_PINS = 100


class _Document(msgspec.Struct, frozen=True):
    names: tuple[str, ...] = ()
    version: int = 1


class Pins:
    """Names of pinned models, kept in a file, and made true in the runtime as slots change.

    Args:
        path: The file.
        fixed: Names from the settings.
        registry: Knows what a name stands for.
        pool: Keeps the models loaded; None while no daemon runs.
    """

    def __init__(
        self, path: Path, fixed: Sequence[str], registry: Registry, pool: ModelPool | None = None
    ) -> None:
        self._path = path
        self._fixed = tuple(fixed)
        self._registry = registry
        self._pool = pool
        self._names = _read(path)
        self._unknown: set[str] = set()

    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(dict.fromkeys((*self._fixed, *self._names)))

    async def files(self) -> list[ModelFile]:
        """The models that the names stand for now; names that stand for none are left out."""
        found = {}
        unknown = set()
        for name in self.names():
            try:
                pair = await self._registry.find_pair(name)
            except (ModelNotFoundError, UsageError) as error:
                unknown.add(name)
                if name not in self._unknown:
                    log.warning("pinned_model_unknown", name=name, error=str(error))
                continue
            found[pair.model.file_sha256] = model_file(Pair(pair.model))
        self._unknown = unknown
        return list(found.values())

    async def add(self, name: str) -> None:
        """Keep a model loaded from now on, also after a restart.

        Raises:
            UsageError: No model has that name, or too many are pinned.
        """
        await self._registry.find_pair(name)
        if len(self._names) >= MAX_PINS:
            raise UsageError(f"{MAX_PINS} models are pinned already; unpin one first")
        await self._store((*(kept for kept in self._names if kept != name), name))

    async def remove(self, name: str) -> None:
        """Treat a model like any other again.

        Raises:
            UsageError: It is not pinned, or the settings pin it.
        """
        if name in self._fixed:
            raise UsageError(f"{name} is pinned by the setting runtime.pinned: take it out there")
        if name not in self._names:
            raise UsageError(f"{name!r} is not pinned; pinned are: {', '.join(self.names()) or 'none'}")
        await self._store(tuple(kept for kept in self._names if kept != name))

    async def run(self) -> None:
        """Follow the registry: a channel stands for another file after an update. Never returns."""
        changed = asyncio.Event()
        unsubscribe = self._registry.subscribe(changed.set)
        try:
            while True:
                changed.clear()
                await self._apply()
                await changed.wait()
        finally:
            unsubscribe()

    async def _store(self, names: tuple[str, ...]) -> None:
        data = msgspec.json.encode(_Document(names))
        await asyncio.to_thread(write_atomic, self._path, data, mode=0o640)
        self._names = names
        await self._apply()

    async def _apply(self) -> None:
        if self._pool is not None:
            self._pool.pin(await self.files())


def _read(path: Path) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Document).names
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("pins_unreadable", path=str(path), error=str(error))
        return ()

"""Presets: what Ollama's ``create`` and ``copy`` make. A name, the name that it is built on, and defaults.

One JSON document for each device. A preset holds no weights: it goes on with whatever its base is.
"""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from skerry_agent import durable
from skerry_agent.errors import UsageError, WorldError
from skerry_protocol.names import LOCAL_PREFIX, check_name, check_version

log = structlog.get_logger(__name__)

MAX_PRESETS = 1000
MAX_PRESET_BYTES = 256 * 1024


class PresetMessage(msgspec.Struct, frozen=True):
    """One turn that stands before every conversation."""

    role: str
    content: str


class Preset(msgspec.Struct, frozen=True):
    """One preset.

    Attributes:
        name: ``NAME`` or ``NAME@VERSION``; it answers to ``local/…`` as well.
        base: The registry's name that it is built on.
        parameters: Ollama's options that hold where a request gives none.
        created_at: Unix seconds by the device's clock.
    """

    name: str
    base: str
    system: str = ""
    parameters: Mapping[str, Any] = {}
    messages: tuple[PresetMessage, ...] = ()
    license: tuple[str, ...] = ()
    created_at: float = 0.0


class _Document(msgspec.Struct, frozen=True):
    presets: tuple[Preset, ...] = ()
    version: int = 1


class PresetStore:
    """The presets of one device; one process owns the file at a time."""

    def __init__(self, path: Path, presets: Iterable[Preset] = ()) -> None:
        """Use ``load``."""
        self._path = path
        self._presets = {preset.name: preset for preset in presets}
        self._lock = asyncio.Lock()

    @classmethod
    def load(cls, path: Path) -> "PresetStore":
        """Read the file; without one, or with a damaged one, there are no presets."""
        try:
            document = msgspec.json.decode(path.read_bytes(), type=_Document)
        except FileNotFoundError:
            document = _Document()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("presets_unreadable", path=str(path), error=str(error))
            document = _Document()
        return cls(path, document.presets)

    def get(self, name: str) -> Preset | None:
        """The preset with this name, with or without ``local/``."""
        return self._presets.get(name.removeprefix(LOCAL_PREFIX))

    def all(self) -> list[Preset]:
        """All presets by name."""
        return [self._presets[name] for name in sorted(self._presets)]

    async def put(self, preset: Preset) -> None:
        """Store a preset, in place of one of the same name.

        Raises:
            UsageError: It is too large, or there are too many.
            WorldError: The disk failed.
        """
        if len(msgspec.json.encode(preset)) > MAX_PRESET_BYTES:
            raise UsageError(f"{preset.name} is over {MAX_PRESET_BYTES} bytes: shorten its texts")
        async with self._lock:
            if preset.name not in self._presets and len(self._presets) >= MAX_PRESETS:
                raise UsageError(f"there are {MAX_PRESETS} such models already: delete some first")
            await self._write({**self._presets, preset.name: preset})

    async def remove(self, name: str) -> None:
        """Remove a preset; one that is not there is fine.

        Raises:
            WorldError: The disk failed.
        """
        async with self._lock:
            kept = {k: v for k, v in self._presets.items() if k != name.removeprefix(LOCAL_PREFIX)}
            await self._write(kept)

    async def _write(self, presets: dict[str, Preset]) -> None:
        data = msgspec.json.format(msgspec.json.encode(_Document(tuple(presets.values()))), indent=1)
        try:
            await asyncio.to_thread(durable.write_atomic, self._path, data, mode=0o640)
        except OSError as error:
            raise WorldError(f"cannot write {self._path}: {error.strerror}") from error
        self._presets = presets


def preset_name(name: str) -> str:
    """``NAME`` or ``NAME@VERSION`` of a new preset, from the registry's form of a name.

    Raises:
        NameSyntaxError: It breaks the grammar of names.
    """
    text = name.removeprefix(LOCAL_PREFIX)
    base, separator, version = text.partition("@")
    check_name(base)
    if separator:
        check_version(version)
    return text

"""Builders for tests around the registry: model-like files with their chunks, and a disk that can fail."""

import errno
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

from skerry_agent.registry import Disk, InstalledArtifact, NewArtifact, Registry, RegistryLimits
from skerry_protocol.manifest import Acceptance, Chunk, FileEntry
from skerry_protocol.records import Value

LIMITS = RegistryLimits(min_free_bytes=0, journal_sync_bytes=1, journal_sync_s=3600.0)
"""Every chunk is journaled at once."""


def random_bytes(length: int, seed: int = 0) -> bytes:
    """Bytes that do not compress and do not repeat."""
    return random.Random(seed).randbytes(length)  # noqa: S311 - repeatable test data


def chunks_of(data: bytes, chunk_bytes: int = 1000) -> tuple[Chunk, ...]:
    """The data cut at a fixed size."""
    pieces = [(offset, data[offset : offset + chunk_bytes]) for offset in range(0, len(data), chunk_bytes)]
    return tuple(Chunk(offset, len(p), hashlib.sha256(p).hexdigest()) for offset, p in pieces)


def entry_of(data: bytes, chunk_bytes: int = 1000) -> FileEntry:
    """The data as a file of a manifest."""
    digest = hashlib.sha256(data).hexdigest()
    return FileEntry(sha256=digest, length=len(data), chunks=chunks_of(data, chunk_bytes))


def bytes_of(data: bytes, chunk: Chunk) -> bytes:
    """The bytes of a chunk of ``data``."""
    return data[chunk.offset : chunk.offset + chunk.length]


async def put(registry: Registry, data: bytes, ref: str = "assistant@1") -> InstalledArtifact:
    """Download (from memory) and install a signed artifact."""
    entry = entry_of(data)
    partial = await registry.open_partial(entry.sha256, entry.length, entry.chunks)
    for chunk in partial.missing():
        await partial.write(chunk, bytes_of(data, chunk))
    await partial.finish()
    installed = await registry.install(signed(ref, entry))
    await registry.release(entry.sha256)
    return installed


def signed(ref: str, entry: FileEntry, target_sha256: str | None = None) -> NewArtifact:
    """The facts of a signed artifact with this file."""
    name, _, version = ref.partition("@")
    return NewArtifact(
        ref=ref,
        kind="model",
        file_sha256=entry.sha256,
        length=entry.length,
        chunks=[(c.offset, c.length, c.sha256) for c in entry.chunks],
        target_path=f"models/{name}/{version}.json",
        target_sha256=target_sha256 or hashlib.sha256(ref.encode()).hexdigest(),
        license="apache-2.0",
        description={"architecture": "llama", "parameters": 3},
    )


def make_artifact(
    ref: str, *, sha: str, at: float = 0.0, broken: bool = False, base: str | None = None
) -> InstalledArtifact:
    """An installed artifact, without any file; with a base, an adapter."""
    local = ref.startswith("local/")
    name, _, version = ref.partition("@")
    return InstalledArtifact(
        ref=ref,
        kind="model" if base is None else "adapter",
        signed=not local,
        file_sha256=sha,
        length=1,
        path=Path("nowhere"),
        target_path=None if local else f"models/{name}/{version}.json",
        target_sha256=None if local else "0" * 64,
        description={},
        license=None,
        acceptance=Acceptance(),
        installed_at=at,
        broken=broken,
        base_sha256=base,
    )


class FailingDisk(Disk):
    """A disk whose operations fail on demand.

    Attributes:
        free: What ``free_bytes`` says; ``None`` asks the real disk.
        fail: Operation name -> errno that it raises.
        calls: Operations in order, with the name of the file where there is one.
    """

    def __init__(self) -> None:
        self.free: int | None = None
        self.fail: dict[str, int] = {}
        self.calls: list[str] = []

    def _enter(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fail:
            raise OSError(self.fail[name], errno.errorcode[self.fail[name]])

    def free_bytes(self, folder: Path) -> int:
        self._enter("free_bytes")
        return super().free_bytes(folder) if self.free is None else self.free

    def preallocate(self, descriptor: int, length: int) -> None:
        self._enter("preallocate")
        super().preallocate(descriptor, length)

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        self._enter("write_at")
        super().write_at(descriptor, data, offset)

    def append(self, descriptor: int, data: bytes) -> None:
        self._enter("append")
        super().append(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._enter("sync")
        super().sync(descriptor)

    def replace_synced(self, source: Path, target: Path) -> None:
        self._enter("replace_synced")
        super().replace_synced(source, target)


class RecordedEvents:
    """An event sink that remembers."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Value]]] = []

    async def emit(self, name: str, /, *, audit: bool = False, **data: Value) -> None:
        self.records.append((name, data))

    def names(self) -> list[str]:
        return [name for name, _ in self.records]

    def of(self, name: str) -> list[dict[str, Value]]:
        return [data for recorded, data in self.records if recorded == name]

    def codes(self, names: Sequence[str]) -> list[Value]:
        return [data.get("code") for name, data in self.records if name in names]

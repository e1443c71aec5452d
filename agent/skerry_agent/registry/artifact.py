"""The values of the registry: installed artifacts, slots, limits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skerry_protocol.manifest import Acceptance
from skerry_protocol.names import LOCAL_PREFIX, ArtifactRef, Channel
from skerry_protocol.records import Value

MiB = 1024 * 1024
Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in total, from a worker thread."""


@dataclass(frozen=True, slots=True)
class RegistryLimits:
    """Bounds of the registry; sizes in bytes, times in seconds.

    Attributes:
        disk_budget_bytes: All model files and partial downloads together; 0 means the whole disk.
        min_free_bytes: What stays free on the filesystem for the rest of the system.
        journal_sync_bytes: A download is synced and journaled after so many bytes ...
        journal_sync_s: ... or after this time, whichever comes first: each sync wears an SD card.
        partial_keep_s: An interrupted download that nobody went on with is dropped after this time.
        copy_block_bytes: How much of a file is read at once to copy or hash it.
    """

    disk_budget_bytes: int = 0
    min_free_bytes: int = 64 * MiB
    journal_sync_bytes: int = 8 * MiB
    journal_sync_s: float = 5.0
    partial_keep_s: float = 30 * 86_400.0
    copy_block_bytes: int = 1 * MiB


@dataclass(frozen=True, slots=True)
class InstalledArtifact:
    """One artifact of which the whole file is on this device, verified.

    Attributes:
        ref: ``name@version``, or ``local/name@version`` when a person imported it.
        signed: It came from the fleet by a signed manifest.
        target_path: The manifest's target path; ``None`` for local ones.
        target_sha256: The manifest's hash; ``None`` for local ones.
        description: Facts from the file's header.
        base_sha256: Digest of the model file that an adapter was made for; ``None`` for models.
        installed_at: Unix seconds by the device's clock, for people and for ordering only.
        broken: The file is missing or has another length; it cannot be served.
    """

    ref: str
    kind: str
    signed: bool
    file_sha256: str
    length: int
    path: Path
    target_path: str | None
    target_sha256: str | None
    description: Mapping[str, Value]
    license: str | None
    acceptance: Acceptance
    installed_at: float
    broken: bool = False
    base_sha256: str | None = None

    @property
    def parsed(self) -> ArtifactRef:
        """The reference, taken apart."""
        return ArtifactRef.parse(self.ref)


@dataclass(frozen=True, slots=True)
class Pair:
    """What answers a request: a model, and the LoRA adapters on it."""

    model: InstalledArtifact
    adapters: tuple[InstalledArtifact, ...] = ()

    @property
    def parts(self) -> tuple[InstalledArtifact, ...]:
        """All of it, the model first."""
        return (self.model, *self.adapters)

    @property
    def broken(self) -> bool:
        """Whether a file of it is missing or has another length."""
        return any(part.broken for part in self.parts)

    @property
    def text(self) -> str:
        """``smol@1``, or with adapters ``smol@1+german@1``."""
        return "+".join(part.ref for part in self.parts)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one version serves: a channel, or ``local/NAME``.

    Attributes:
        active: What serves; ``None`` when nothing was activated yet.
        previous: What a rollback goes back to.
        held: Who rolled it back by hand, until something is activated again.
        adapters: The LoRA adapters on ``active``; both are one version.
        previous_adapters: Those on ``previous``.
    """

    name: str
    active: InstalledArtifact | None = None
    previous: InstalledArtifact | None = None
    held: str | None = None
    adapters: tuple[InstalledArtifact, ...] = ()
    previous_adapters: tuple[InstalledArtifact, ...] = ()

    @property
    def serving(self) -> Pair | None:
        """What serves, whole."""
        return None if self.active is None else Pair(self.active, self.adapters)

    @property
    def before(self) -> Pair | None:
        """What a rollback goes back to, whole."""
        return None if self.previous is None else Pair(self.previous, self.previous_adapters)

    @classmethod
    def of(cls, name: str, serving: Pair, before: Pair | None, held: str | None = None) -> "Slot":
        """A slot where one pair serves, and another did before."""
        return cls(
            name,
            serving.model,
            before.model if before is not None else None,
            held,
            serving.adapters,
            before.adapters if before is not None else (),
        )


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """What is put into the catalog: the facts of a file that is whole and verified.

    Attributes:
        chunks: ``(offset, length, sha256)`` of the file, for the index of chunks.
        target_path: The signed manifest's target path; ``None`` for what a person imported.
        target_sha256: Its hash; ``None`` likewise.
        base_sha256: Digest of the model file that an adapter was made for; ``None`` for models.
    """

    ref: str
    kind: str
    file_sha256: str
    length: int
    chunks: Sequence[tuple[int, int, str]]
    target_path: str | None = None
    target_sha256: str | None = None
    description: Mapping[str, Value] = field(default_factory=dict)
    license: str | None = None
    acceptance: Acceptance = field(default_factory=Acceptance)
    base_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where on this device the bytes of a chunk are."""

    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """How the registry stands with the disk, in bytes; ``budget`` 0 means none."""

    used: int
    budget: int
    free: int


def local_slot(ref: str) -> str:
    """The slot of a local artifact: ``local/NAME``."""
    return LOCAL_PREFIX + ArtifactRef.parse(ref).name


def is_slot_for(slot: str, ref: str) -> bool:
    """Whether an artifact may be active in a slot: local ones in theirs only, signed ones in channels.

    Raises:
        NameSyntaxError: ``slot`` is neither a channel nor ``local/NAME``.
    """
    parsed = ArtifactRef.parse(ref)
    if parsed.local or slot.startswith(LOCAL_PREFIX):
        return parsed.local and slot == local_slot(ref)
    Channel.parse(slot)
    return True

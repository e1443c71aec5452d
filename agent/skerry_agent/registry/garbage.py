"""What may be removed. Pure.

Always: files that nothing refers to, and downloads that nobody went on with for long. When room is needed, in
this order: downloads that are no longer wanted, then signed versions that serve nowhere, the oldest first.
Never: what is active or previous in a slot, what a person imported, what is being downloaded, and the model
file that an adapter was made for while that adapter is here.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from skerry_agent.registry.artifact import InstalledArtifact, Pair, Slot
from skerry_agent.registry.catalog import KnownPartial


@dataclass(frozen=True, slots=True)
class Holdings:
    """What there is.

    Attributes:
        files: Digest -> bytes of whole files.
        partials: Digest -> allocated bytes of unfinished ones.
        known: What the catalog knows of downloads.
        open_partials: Digests of downloads that are under way now.
    """

    files: Mapping[str, int]
    partials: Mapping[str, int]
    known: Mapping[str, KnownPartial]
    artifacts: Collection[InstalledArtifact]
    slots: Collection[Slot]
    open_partials: Collection[str] = ()


@dataclass(slots=True)
class Garbage:
    """What to remove, and how many bytes that frees."""

    files: list[str]
    partials: list[str]
    artifacts: list[InstalledArtifact]
    freed_bytes: int = 0


def plan_garbage(holdings: Holdings, *, need_bytes: int, now: float, partial_keep_s: float) -> Garbage:
    """Decide what to remove.

    Args:
        holdings: What there is.
        need_bytes: Room that is needed; 0 removes only what is garbage anyway.
        now: Unix seconds.
        partial_keep_s: Downloads that rested longer than this are garbage.
    """
    garbage = Garbage([], [], [])
    for sha256 in _orphans(holdings):
        garbage.files.append(sha256)
        garbage.freed_bytes += holdings.files[sha256]
    for sha256, size in holdings.partials.items():
        known = holdings.known.get(sha256)
        if sha256 not in holdings.open_partials and (known is None or now - known.used_at > partial_keep_s):
            _drop_partial(garbage, sha256, size)
    for sha256, known in holdings.known.items():
        size = holdings.partials.get(sha256, 0)
        droppable = not known.wanted and sha256 not in holdings.open_partials
        if droppable and garbage.freed_bytes < need_bytes and sha256 not in garbage.partials:
            _drop_partial(garbage, sha256, size)
    for artifact in _evictable(holdings):
        if garbage.freed_bytes >= need_bytes:
            break
        if artifact not in garbage.artifacts:
            _evict_with_adapters(garbage, artifact, holdings)
    return garbage


def protected(slots: Iterable[Slot]) -> set[tuple[str, str | None, str]]:
    """Identities of what is active or previous somewhere."""
    pairs = (pair for slot in slots for pair in (slot.serving, slot.before) if pair is not None)
    return {identity(part) for pair in pairs for part in pair.parts}


def adapters_on(
    artifact: InstalledArtifact, artifacts: Iterable[InstalledArtifact]
) -> list[InstalledArtifact]:
    """The adapters that need an artifact's file, unless they find it under another name as well."""
    others = [a for a in artifacts if a is not artifact and a.file_sha256 == artifact.file_sha256]
    return [] if others else [a for a in artifacts if a.base_sha256 == artifact.file_sha256]


def identity(artifact: InstalledArtifact) -> tuple[str, str | None, str]:
    """What makes an artifact this one: name and version, manifest, file."""
    return artifact.ref, artifact.target_sha256, artifact.file_sha256


def same(one: Pair, other: Pair) -> bool:
    """Whether two pairs are the same artifacts."""
    return [identity(part) for part in one.parts] == [identity(part) for part in other.parts]


def _orphans(holdings: Holdings) -> Iterator[str]:
    referred = {artifact.file_sha256 for artifact in holdings.artifacts}
    referred |= {sha256 for sha256, known in holdings.known.items() if known.wanted}
    return (sha256 for sha256 in holdings.files if sha256 not in referred)


def _drop_partial(garbage: Garbage, sha256: str, size: int) -> None:
    garbage.partials.append(sha256)
    garbage.freed_bytes += size


def _evictable(holdings: Holdings) -> list[InstalledArtifact]:
    kept = protected(holdings.slots)
    free = [a for a in holdings.artifacts if a.signed and identity(a) not in kept]
    return sorted(free, key=lambda a: a.installed_at)


def _evict_with_adapters(garbage: Garbage, artifact: InstalledArtifact, holdings: Holdings) -> None:
    """Evict an artifact, those adapters first that need it; none at all when one of them has to stay."""
    staying = [a for a in holdings.artifacts if a not in garbage.artifacts]
    adapters = adapters_on(artifact, staying)
    kept = protected(holdings.slots)
    if any(not adapter.signed or identity(adapter) in kept for adapter in adapters):
        return
    for adapter in adapters:
        _evict(garbage, adapter, holdings)
    if all(adapter in garbage.artifacts for adapter in adapters):
        _evict(garbage, artifact, holdings)


def _evict(garbage: Garbage, artifact: InstalledArtifact, holdings: Holdings) -> None:
    sha256 = artifact.file_sha256
    others = [a for a in holdings.artifacts if a.file_sha256 == sha256 and a is not artifact]
    if all(other in garbage.artifacts for other in others):
        if sha256 in holdings.known and holdings.known[sha256].wanted:
            return
        garbage.files.append(sha256)
        garbage.freed_bytes += holdings.files.get(sha256, 0)
    garbage.artifacts.append(artifact)

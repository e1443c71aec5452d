"""One step of one slot's update: what it is given, and what comes of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from skerry_agent.errors import AgentError
from skerry_agent.registry import Pair, Registry, Slot, is_full_disk
from skerry_agent.updates import fit
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.record import SlotRecord
from skerry_agent.updates.table import Event
from skerry_protocol.desired import DesiredSlot, TargetRef
from skerry_protocol.manifest import FileEntry, Manifest, decode_manifest
from skerry_protocol.reported import Reason


@dataclass(frozen=True, slots=True)
class Go:
    """The step is done: an event, and what else changes in the record."""

    event: Event
    changes: Mapping[str, Any] = field(default_factory=dict)
    manifest: bytes | None = None
    adapter_manifests: tuple[bytes, ...] = ()

    @property
    def code(self) -> str | None:
        """Code of the reason why it goes wrong from here, where it does."""
        reason = self.changes.get("reason")
        return reason.code if isinstance(reason, Reason) else None


@dataclass(frozen=True, slots=True)
class Pause:
    """The step cannot be done now; it is done again later.

    Attributes:
        after_s: When; None means with backoff.
        at_least_s: With backoff, but not before.
        changes: What changes in the record meanwhile.
        lasting: Store it now; else only with the next thing that is stored.
    """

    reason: Reason
    after_s: float | None = None
    at_least_s: float = 0.0
    changes: Mapping[str, Any] = field(default_factory=dict)
    lasting: bool = True


Step = Go | Pause
OnProgress = Callable[[int, int], Awaitable[None]]
"""Called with verified bytes in total, and further bytes that came over a network."""


def refuse(code: str, message: str, *, need_bytes: int = 0) -> Go:
    """The update cannot be."""
    return Go("refused", {"reason": Reason(code, message), "need_bytes": need_bytes})


def why(error: Exception) -> Reason:
    """What failed, for programs and people; a full disk is told apart, whatever noticed it."""
    return Reason("no_space" if is_full_disk(error) else "failed", str(error))


@dataclass(frozen=True, slots=True)
class Work:
    """One slot's update as a step sees it.

    Attributes:
        adapter_manifests: Stored manifests of the adapters, in the order of the record's.
    """

    record: SlotRecord
    wanted: DesiredSlot | None
    minimum_versions: Mapping[str, int]
    manifest: bytes | None
    on_progress: OnProgress
    adapter_manifests: tuple[bytes | None, ...] = ()

    @property
    def parts(self) -> "tuple[Work, ...]":
        """The same for each file of the version alone: the model, then each adapter."""
        manifests = self.adapter_manifests or (None,) * len(self.record.adapters)
        model = replace(self, record=msgspec.structs.replace(self.record, adapters=()), adapter_manifests=())
        adapters = (
            replace(
                model,
                record=msgspec.structs.replace(self.record, target=target, adapters=()),
                manifest=manifest,
            )
            for target, manifest in zip(self.record.adapters, manifests, strict=True)
        )
        return (model, *adapters)

    @property
    def target(self) -> TargetRef:
        """The manifest's target."""
        if self.record.target is None:
            raise RuntimeError(f"the update of {self.record.slot} has no target")
        return self.record.target


class CannotGoOnError(AgentError):
    """What was checked before is no longer so: labels changed, or updates.db was tampered with."""


def find_file(
    work: Work, facts: Mapping[str, str], limits: UpdateLimits
) -> tuple[Manifest, FileEntry | Reason] | None:
    """The manifest as this device reads it, and its file, or why it gives none; None when it is lost."""
    if work.manifest is None:
        return None
    return fit.choose_file(decode_manifest(work.manifest), facts, limits)


def require_file(work: Work, facts: Mapping[str, str], limits: UpdateLimits) -> tuple[Manifest, FileEntry]:
    """The same where it was found before.

    Raises:
        CannotGoOnError: It is not there any more.
    """
    found = find_file(work, facts, limits)
    if found is None or isinstance(found[1], Reason):
        why = found[1].message if found is not None and isinstance(found[1], Reason) else "it is lost"
        raise CannotGoOnError(f"the manifest {work.target.path} cannot be followed any more: {why}")
    return found[0], found[1]


def serving(slots: Mapping[str, Slot], slot: str) -> Pair | None:
    """What serves in a slot now."""
    found = slots.get(slot)
    return None if found is None else found.serving


def serving_file(slots: Mapping[str, Slot], slot: str) -> str | None:
    """Digest of the file that serves in a slot now."""
    found = serving(slots, slot)
    return None if found is None else found.model.file_sha256


def find_installed(registry: Registry, work: Work) -> Pair | None:
    """What a version's manifests are of, if all its files are whole."""
    whole = {a.target_sha256: a for a in registry.artifacts_now if not a.broken}
    parts = [whole.get(target.sha256) for target in (work.target, *work.record.adapters)]
    found = [part for part in parts if part is not None]
    return Pair(found[0], tuple(found[1:])) if len(found) == len(parts) else None


def file_sha256(manifest: bytes | None, facts: Mapping[str, str], limits: UpdateLimits) -> str | None:
    """Digest of the file that a manifest gives this device, if it gives one."""
    if manifest is None:
        return None
    _, entry = fit.choose_file(decode_manifest(manifest), facts, limits)
    return None if isinstance(entry, Reason) else entry.sha256

"""What each state of an update does. Every step may be cut off anywhere and done again."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.registry import (
    DamagedDownloadError,
    InconsistentManifestError,
    InstalledArtifact,
    ModelNotFoundError,
    NewArtifact,
    NoSpaceError,
    Registry,
    check_model_file,
)
from skerry_agent.runtime import ModelFile
from skerry_agent.trust.errors import TargetNotYetVisibleError, TargetRefusedError
from skerry_agent.updates import fit
from skerry_agent.updates.download import Downloader
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.ports import DeviceView, TargetSource, TrialOutcome, Trier
from skerry_agent.updates.record import SlotRecord
from skerry_agent.updates.table import Event
from skerry_protocol.desired import DesiredSlot, TargetRef
from skerry_protocol.errors import ModelFileError, ProtocolError
from skerry_protocol.manifest import FileEntry, Manifest, decode_manifest
from skerry_protocol.reported import Reason, SlotState

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Go:
    """The step is done: an event, and what else changes in the record."""

    event: Event
    changes: Mapping[str, Any] = field(default_factory=dict)
    manifest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """The step cannot be done now; it is done again later.

    Attributes:
        after_s: When; None means with backoff.
    """

    reason: Reason
    after_s: float | None = None


Step = Go | Pause
OnProgress = Callable[[int, int], Awaitable[None]]
"""Called with verified bytes in total, and further bytes that came over a network."""


def refuse(code: str, message: str, *, need_bytes: int = 0) -> Go:
    """The update cannot be."""
    return Go("refused", {"reason": Reason(code, message), "need_bytes": need_bytes})


@dataclass(frozen=True, slots=True)
class Work:
    """One slot's update as a step sees it."""

    record: SlotRecord
    wanted: DesiredSlot | None
    minimum_versions: Mapping[str, int]
    manifest: bytes | None
    on_progress: OnProgress

    @property
    def target(self) -> TargetRef:
        """The manifest's target."""
        if self.record.target is None:
            raise RuntimeError(f"the update of {self.record.slot} has no target")
        return self.record.target


class Steps:
    """The effects. Holds no state of any update but how many rounds brought wrong bytes."""

    def __init__(
        self,
        registry: Registry,
        *,
        targets: TargetSource,
        downloader: Downloader,
        trier: Trier,
        device: DeviceView,
        limits: UpdateLimits,
        activation_delay_s: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._targets = targets
        self._downloader = downloader
        self._trier = trier
        self._device = device
        self._limits = limits
        self._activation_delay_s = activation_delay_s
        self._wrong_rounds: dict[str, int] = {}
        self._effects: Mapping[SlotState, Callable[[Work], Awaitable[Step]]] = {
            "resolving": self._resolve,
            "checking": self._check,
            "downloading": self._download,
            "verifying": self._verify,
            "staged": self._stage,
            "trial": self._try,
        }

    async def run(self, work: Work) -> Step:
        """Do what the record's state does; failures of the world become pauses."""
        try:
            return await self._effects[work.record.state](work)
        except NoSpaceError as error:
            if work.record.state == "trial":
                return Pause(Reason("no_space", str(error)))
            return refuse("no_space", str(error), need_bytes=self._length(work))
        except CannotGoOnError as error:
            reason = Reason("no_variant", str(error))
            return Go("failed" if work.record.state == "trial" else "refused", {"reason": reason})
        except (AgentError, OSError) as error:
            log.warning(
                "update_step_failed", slot=work.record.slot, state=work.record.state, error=str(error)
            )
            return Pause(Reason("failed", str(error)))

    async def _resolve(self, work: Work) -> Step:
        target = work.target
        if work.wanted is not None and work.wanted.adapters:
            return refuse("adapters_unsupported", f"{target.path} wants adapters; this agent takes none")
        try:
            data = await self._targets.manifest(target, work.minimum_versions)
        except TargetNotYetVisibleError as error:
            return Pause(Reason("target_not_yet_visible", str(error)))
        except TargetRefusedError as error:
            return refuse(error.code, error.message)
        if hashlib.sha256(data).hexdigest() != target.sha256:
            return refuse("target_mismatch", f"the bytes of {target.path} are not those that were chosen")
        try:
            manifest = decode_manifest(data)
        except ProtocolError as error:
            return refuse("manifest_malformed", f"{target.path}: {error}")
        wrong = fit.check_identity(manifest, target.path)
        return Go("refused", {"reason": wrong}) if wrong else Go("resolved", manifest=data)

    async def _check(self, work: Work) -> Step:
        found = self._file(work)
        if found is None:
            return refuse("manifest_lost", f"the stored manifest {work.target.path} is gone")
        manifest, entry = found
        if isinstance(entry, Reason):
            return Go("refused", {"reason": entry})
        need = fit.predict_memory(manifest, entry, self._device.cache_tokens)
        memory_bytes = self._device.model_memory_bytes(self._serving(work.record.slot))
        wrong = fit.check_memory(manifest.ref, need, memory_bytes)
        if wrong is not None:
            return Go("refused", {"reason": wrong, "need_bytes": need[0]})
        await self._registry.pin(entry.sha256, entry.length)
        if await self._registry.stored(entry.sha256, entry.length) is None:
            # Reserves the room, so it is the check.
            await (await self._registry.open_partial(entry.sha256, entry.length, entry.chunks)).close()
        self._wrong_rounds.pop(work.record.slot, None)
        return Go("fits", {"bytes_total": entry.length})

    async def _download(self, work: Work) -> Step:
        _, entry = self._require(work)
        await self._registry.pin(entry.sha256, entry.length)
        if await self._registry.stored(entry.sha256, entry.length) is not None:
            return Go("obtained", {"bytes_done": entry.length})
        partial = await self._registry.open_partial(entry.sha256, entry.length, entry.chunks)
        try:
            await work.on_progress(partial.bytes_done, 0)
            outcome = await self._downloader.run_round(
                partial, lambda fetched: work.on_progress(partial.bytes_done, fetched)
            )
            if not partial.missing():
                return Go("obtained", {"bytes_done": entry.length})
        finally:
            await partial.close()
        slot = work.record.slot
        wrong = bool(outcome.wrong) and not outcome.right_chunks
        self._wrong_rounds[slot] = self._wrong_rounds.get(slot, 0) + 1 if wrong else 0
        if self._wrong_rounds[slot] >= self._limits.max_wrong_rounds:
            return refuse(
                "chunk_mismatch",
                f"the bytes of {work.target.path} do not match its signed manifest ({outcome.summary()})",
            )
        code = "chunk_mismatch" if outcome.wrong else "sources_failed"
        # Progress was made: the next round may come at once.
        return Pause(Reason(code, outcome.summary()), after_s=0.0 if outcome.right_chunks else None)

    async def _verify(self, work: Work) -> Step:
        manifest, entry = self._require(work)
        path = await self._registry.stored(entry.sha256, entry.length)
        if path is None:
            partial = await self._registry.open_partial(entry.sha256, entry.length, entry.chunks)
            try:
                if partial.missing():
                    return Go("damaged", {"bytes_done": partial.bytes_done})
                path = await partial.finish()
            except DamagedDownloadError:
                return Go("damaged", {"bytes_done": partial.bytes_done})
            except InconsistentManifestError as error:
                return refuse("file_mismatch", f"{work.target.path}: {error}")
            finally:
                await partial.close()
        try:
            await asyncio.to_thread(_check_header, path)
        except ModelFileError as error:
            return refuse("bad_model", f"{manifest.ref}: {error}")
        await self._registry.install(_artifact(manifest, entry, work.target))
        return Go("verified")

    async def _stage(self, work: Work) -> Step:
        delay_s = self._activation_delay_s()
        if delay_s > 0:
            return Pause(Reason("outside_window", "waits for the window in which it may be tried"), delay_s)
        return Go("began", {"trials": work.record.trials + 1})

    async def _try(self, work: Work) -> Step:
        manifest, entry = self._require(work)
        artifact = _find(self._registry, str(manifest.ref), work.target.sha256)
        if artifact is None:
            return Go("failed", {"reason": Reason("file_missing", f"the file of {manifest.ref} is gone")})
        model = ModelFile(path=artifact.path, sha256=entry.sha256, label=artifact.ref)
        if not work.record.passed:
            outcome = await self._run_trial(model, manifest, self._serving(work.record.slot))
            if not outcome.passed:
                reason = outcome.reason or Reason("trial_failed", f"{manifest.ref} failed its trial")
                return Go("failed", {"reason": reason, "figures": dict(outcome.figures)})
            return Go("passed", {"passed": True, "figures": dict(outcome.figures)})
        try:
            await self._registry.activate(work.record.slot, artifact.ref, target_sha256=work.target.sha256)
        except ModelNotFoundError as error:
            return Go("failed", {"reason": Reason("file_missing", str(error)), "passed": False})
        try:
            await self._trier.promote(model)
        except AgentError as error:
            # The slot is switched: the next request loads the model anew.
            log.warning("promotion_failed", slot=work.record.slot, ref=artifact.ref, error=str(error))
        return Go("switched", {"passed": False})

    def _serving(self, slot: str) -> str | None:
        """Digest of the file that serves in a slot now."""
        found = self._registry.slots_now.get(slot)
        return found.active.file_sha256 if found is not None and found.active is not None else None

    async def _run_trial(self, model: ModelFile, manifest: Manifest, replaces: str | None) -> TrialOutcome:
        deadline_s = manifest.acceptance.deadline_s + self._limits.trial_grace_s
        passed = False
        try:
            async with asyncio.timeout(deadline_s):
                outcome = await self._trier.try_model(model, manifest.acceptance, replaces=replaces)
            passed = outcome.passed
        except TimeoutError:
            message = f"the trial of {manifest.ref} took longer than {deadline_s:g} s"
            outcome = TrialOutcome(passed=False, reason=Reason("trial_timeout", message))
        except AgentError as error:
            outcome = TrialOutcome(passed=False, reason=Reason("trial_failed", f"{manifest.ref}: {error}"))
        finally:
            if not passed:
                await self._trier.discard(model)
        return outcome

    def _file(self, work: Work) -> tuple[Manifest, FileEntry | Reason] | None:
        if work.manifest is None:
            return None
        manifest = decode_manifest(work.manifest)
        return manifest, fit.choose_file(manifest, self._device.facts(), self._limits)

    def _length(self, work: Work) -> int:
        found = self._file(work)
        return 0 if found is None or isinstance(found[1], Reason) else found[1].length

    def _require(self, work: Work) -> tuple[Manifest, FileEntry]:
        found = self._file(work)
        if found is None or isinstance(found[1], Reason):
            why = found[1].message if found is not None and isinstance(found[1], Reason) else "it is lost"
            raise CannotGoOnError(f"the manifest {work.target.path} cannot be followed any more: {why}")
        return found[0], found[1]


class CannotGoOnError(AgentError):
    """What was checked before is no longer so: labels changed, or updates.db was tampered with."""


def file_sha256(manifest: bytes | None, facts: Mapping[str, str], limits: UpdateLimits) -> str | None:
    """Digest of the file that a manifest gives this device, if it gives one."""
    if manifest is None:
        return None
    entry = fit.choose_file(decode_manifest(manifest), facts, limits)
    return None if isinstance(entry, Reason) else entry.sha256


def _find(registry: Registry, ref: str, target_sha256: str) -> InstalledArtifact | None:
    matching = (a for a in registry.artifacts_now if a.ref == ref and a.target_sha256 == target_sha256)
    return next((a for a in matching if not a.broken), None)


def _artifact(manifest: Manifest, entry: FileEntry, target: TargetRef) -> NewArtifact:
    return NewArtifact(
        ref=str(manifest.ref),
        kind=manifest.kind,
        file_sha256=entry.sha256,
        length=entry.length,
        chunks=[(chunk.offset, chunk.length, chunk.sha256) for chunk in entry.chunks],
        target_path=target.path,
        target_sha256=target.sha256,
        description=manifest.description,
        license=manifest.license,
        acceptance=manifest.acceptance,
    )


def _check_header(path: Path) -> None:
    check_model_file(path)

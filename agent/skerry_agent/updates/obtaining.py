"""The way to a version's file on this device: resolving, checking, downloading, verifying."""

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

from skerry_agent.registry import (
    DamagedDownloadError,
    InconsistentManifestError,
    NewArtifact,
    Registry,
    check_model_file,
)
from skerry_agent.trust.errors import TargetNotYetVisibleError, TargetRefusedError
from skerry_agent.updates import fit
from skerry_agent.updates.download import Downloader, Round
from skerry_agent.updates.license_policy import LicensePolicy
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.network import SourcesError
from skerry_agent.updates.ports import DeviceView, TargetSource
from skerry_agent.updates.record import WRONG_BYTES
from skerry_agent.updates.schedule import Starts
from skerry_agent.updates.step import (
    Go,
    OnProgress,
    Pause,
    Step,
    Work,
    find_file,
    refuse,
    require_file,
    serving_file,
)
from skerry_protocol.desired import TargetRef
from skerry_protocol.errors import ModelFileError, ProtocolError
from skerry_protocol.manifest import FileEntry, Manifest, decode_manifest
from skerry_protocol.reported import Reason


class Obtaining:
    """Holds no state of any update but how many rounds brought wrong bytes."""

    def __init__(
        self,
        registry: Registry,
        *,
        targets: TargetSource,
        downloader: Downloader,
        starts: Starts,
        device: DeviceView,
        limits: UpdateLimits,
    ) -> None:
        self._registry = registry
        self._targets = targets
        self._downloader = downloader
        self._starts = starts
        self._device = device
        self._limits = limits
        self._wrong_rounds: dict[str, int] = {}

    async def resolve(self, work: Work) -> Step:
        """Look up the signed manifests."""
        found: list[bytes] = []
        for part in work.parts:
            step = await self._resolve(part, kind="adapter" if found else "model")
            if not isinstance(step, Go) or step.manifest is None:
                return step
            found.append(step.manifest)
        return Go("resolved", manifest=found[0], adapter_manifests=tuple(found[1:]))

    async def _resolve(self, work: Work, *, kind: str) -> Step:
        target = work.target
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
        wrong = fit.check_identity(manifest, target.path, kind)
        return Go("refused", {"reason": wrong}) if wrong else Go("resolved", manifest=data)

    async def check(self, work: Work) -> Step:
        """Whether it fits: device, memory, disk."""
        entries: list[FileEntry] = []
        need, words = 0, ""
        for part in work.parts:
            found = find_file(part, self._device.facts(), self._limits)
            if found is None:
                return refuse("manifest_lost", f"the stored manifest {part.target.path} is gone")
            manifest, entry = found
            if isinstance(entry, Reason):
                return Go("refused", {"reason": entry})
            if (unfit := await self._unfit(manifest)) is not None:
                return Go("refused", {"reason": unfit})
            if not entries:
                model, (need, words) = (
                    manifest,
                    fit.predict_memory(manifest, entry, self._device.cache_tokens),
                )
            elif (wrong := fit.check_base(manifest, model, entries[0])) is not None:
                return Go("refused", {"reason": wrong})
            else:
                need += entry.length
            entries.append(entry)
        memory_bytes = self._device.model_memory_bytes(
            serving_file(self._registry.slots_now, work.record.slot)
        )
        wrong = fit.check_memory(model.ref, (need, words), memory_bytes)
        if wrong is not None:
            return Go("refused", {"reason": wrong, "need_bytes": need})
        for entry in entries:
            await self._registry.pin(entry.sha256, entry.length)
            if await self._registry.stored(entry.sha256, entry.length) is None:
                # Reserves the room, so it is the check.
                await (await self._registry.open_partial(entry.sha256, entry.length, entry.chunks)).close()
        self._wrong_rounds.pop(work.record.slot, None)
        return Go("fits", {"bytes_total": sum(entry.length for entry in entries)})

    async def _unfit(self, manifest: Manifest) -> Reason | None:
        """What no other moment would change: licence, processor, llama.cpp."""
        limits, architecture = self._limits, manifest.description.get("architecture")
        policy = LicensePolicy(limits.allowed_licenses, limits.refused_licenses)
        wrong = policy.check(manifest.ref, manifest.license)
        wrong = wrong or fit.check_processor(manifest, self._device.cpu_features())
        if wrong is None and isinstance(architecture, str):
            wrong = await self._device.library_problem(architecture)
        return wrong

    async def download(self, work: Work) -> Step:
        """One round over the sources for what is still missing."""
        done = 0
        for part in work.parts:
            step = await self._download(replace(part, on_progress=_further(work, done)))
            if not isinstance(step, Go) or step.event != "obtained":
                return step
            done += step.changes["bytes_done"]
        return Go("obtained", {"bytes_done": done})

    async def _download(self, work: Work) -> Step:
        _, entry = require_file(work, self._device.facts(), self._limits)
        await self._registry.pin(entry.sha256, entry.length)
        if await self._registry.stored(entry.sha256, entry.length) is not None:
            return Go("obtained", {"bytes_done": entry.length})
        if not work.record.bytes_fetched and (delay_s := self._starts.delay_s(work.target.sha256)):
            return Pause(Reason("spread_out", "begins at a moment of its own, apart from others"), delay_s)
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
        return self._after_round(work, outcome)

    def _after_round(self, work: Work, outcome: Round) -> Step:
        if outcome.opens_in_s:
            return Pause(
                Reason("outside_download_window", "waits for the window for downloads"), outcome.opens_in_s
            )
        failure = outcome.failure or SourcesError()
        slot = work.record.slot
        wrong = bool(failure.wrong) and not outcome.right_chunks
        self._wrong_rounds[slot] = self._wrong_rounds.get(slot, 0) + 1 if wrong else 0
        if self._wrong_rounds[slot] >= self._limits.max_wrong_rounds:
            self._wrong_rounds[slot] = 0
            return refuse(
                WRONG_BYTES,
                f"the bytes of {work.target.path} do not match its signed manifest ({failure})",
            )
        reason = Reason(WRONG_BYTES if failure.wrong else "sources_failed", str(failure))
        if outcome.right_chunks:
            # Progress was made: the next round may come at once.
            return Pause(reason, after_s=0.0)
        return Pause(reason, at_least_s=failure.asked_again_in_s or 0.0)

    async def verify(self, work: Work) -> Step:
        """Hash the whole files, look at their headers, install them."""
        base: Path | None = None
        for part in work.parts:
            step = await self._verify(part, base)
            if not isinstance(step, Go) or step.event != "verified":
                return step
            _, entry = require_file(part, self._device.facts(), self._limits)
            base = base or await self._registry.stored(entry.sha256, entry.length)
        return Go("verified")

    async def _verify(self, work: Work, base: Path | None) -> Step:
        manifest, entry = require_file(work, self._device.facts(), self._limits)
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
            await asyncio.to_thread(check_model_file, path, base)
        except ModelFileError as error:
            return refuse("bad_model", f"{manifest.ref}: {error}")
        await self._registry.install(_artifact(manifest, entry, work.target))
        return Go("verified")


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
        base_sha256=manifest.base,
    )


def _further(work: Work, before: int) -> OnProgress:
    """Progress of a file after others that are whole, of so many bytes."""

    async def on_progress(done: int, fetched: int) -> None:
        await work.on_progress(before + done, fetched)

    return on_progress

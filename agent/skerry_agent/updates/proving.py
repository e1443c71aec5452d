"""From a file on this device to a version that stays: staged, trial."""

import asyncio
from collections.abc import Callable

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.registry import InstalledArtifact, ModelNotFoundError, Registry
from skerry_agent.runtime import ModelFile
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.ports import DeviceView, TrialOutcome, Trier
from skerry_agent.updates.step import Go, Pause, Step, Work, require_file, serving_file
from skerry_protocol.manifest import Manifest
from skerry_protocol.reported import Reason

log = structlog.get_logger(__name__)


class Proving:
    """Tries versions, and switches slots to those that passed."""

    def __init__(
        self,
        registry: Registry,
        *,
        trier: Trier,
        device: DeviceView,
        limits: UpdateLimits,
        activation_delay_s: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._trier = trier
        self._device = device
        self._limits = limits
        self._activation_delay_s = activation_delay_s

    async def stage(self, work: Work) -> Step:
        """Wait until it may be tried."""
        delay_s = self._activation_delay_s()
        if delay_s > 0:
            return Pause(Reason("outside_window", "waits for the window in which it may be tried"), delay_s)
        return Go("began", {"trials": work.record.trials + 1})

    async def try_version(self, work: Work) -> Step:
        """Run the acceptance checks; once they passed, switch the slot."""
        manifest, entry = require_file(work, self._device.facts(), self._limits)
        artifact = _find(self._registry, str(manifest.ref), work.target.sha256)
        if artifact is None:
            return Go("failed", {"reason": Reason("file_missing", f"the file of {manifest.ref} is gone")})
        model = ModelFile(path=artifact.path, sha256=entry.sha256, label=artifact.ref)
        if not work.record.passed:
            outcome = await self._run_trial(
                model, manifest, serving_file(self._registry.slots_now, work.record.slot)
            )
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


def _find(registry: Registry, ref: str, target_sha256: str) -> InstalledArtifact | None:
    matching = (a for a in registry.artifacts_now if a.ref == ref and a.target_sha256 == target_sha256)
    return next((a for a in matching if not a.broken), None)

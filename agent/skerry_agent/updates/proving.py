"""From a file on this device to a version that passed its checks: staged, trial."""

import asyncio
from collections.abc import Callable

from skerry_agent.errors import AgentError
from skerry_agent.pairs import model_file
from skerry_agent.registry import Pair, Registry
from skerry_agent.runtime import ModelFile
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.ports import DeviceView, HealthView, TrialOutcome, Trier
from skerry_agent.updates.soak import begin_soak
from skerry_agent.updates.step import Go, Pause, Step, Work, find_installed, require_file, serving
from skerry_protocol.manifest import Manifest
from skerry_protocol.reported import Reason


class Proving:
    """Tries versions in runners of their own."""

    def __init__(
        self,
        registry: Registry,
        *,
        trier: Trier,
        device: DeviceView,
        health: HealthView,
        limits: UpdateLimits,
        activation_delay_s: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._trier = trier
        self._device = device
        self._health = health
        self._limits = limits
        self._activation_delay_s = activation_delay_s

    async def stage(self, work: Work) -> Step:
        """Wait until it may be tried."""
        delay_s = self._activation_delay_s()
        if delay_s > 0:
            return Pause(Reason("outside_window", "waits for the window in which it may be tried"), delay_s)
        return Go("began", {"trials": work.record.trials + 1})

    async def try_version(self, work: Work) -> Step:
        """Run the acceptance checks in a runner of its own."""
        manifest = self._terms(work)
        pair = find_installed(self._registry, work)
        if pair is None:
            return Go("failed", {"reason": Reason("file_missing", f"a file of {manifest.ref} is gone")})
        incumbent = serving(self._registry.slots_now, work.record.slot)
        celsius = self._health.celsius()
        outcome = await self._run_trial(model_file(pair), manifest, incumbent)
        if not outcome.passed:
            reason = outcome.reason or Reason("trial_failed", f"{manifest.ref} failed its trial")
            return Go("failed", {"reason": reason, "figures": dict(outcome.figures)})
        soak = None
        if incumbent is not None and not work.record.is_served_by(incumbent):
            before = self._health.counts(incumbent.model.file_sha256)
            soak = begin_soak(manifest.acceptance.soak, self._limits, before, celsius)
        return Go("passed", {"figures": dict(outcome.figures), "soak": soak})

    def _terms(self, work: Work) -> Manifest:
        """The manifest that says what the version has to show: that of its last adapter, or the model's.

        An adapter is there to change answers, so that the model's own checks do not bind it.
        """
        return require_file(work.parts[-1], self._device.facts(), self._limits)[0]

    async def _run_trial(self, model: ModelFile, manifest: Manifest, incumbent: Pair | None) -> TrialOutcome:
        replaces = None if incumbent is None or incumbent.broken else model_file(incumbent)
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

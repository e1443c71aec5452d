"""The trial itself: a candidate in a runner of its own, beside the one that serves."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from skerry_agent.runtime import (
    GenerationFailedError,
    ModelFile,
    ModelPool,
    ModelUnavailableError,
    NotEnoughMemoryError,
    Runner,
    RunnerCrashedError,
)
from skerry_agent.runtime.errors import InvalidRequestError
from skerry_agent.trials.perplexities import Perplexities
from skerry_agent.trials.trial import run_trial
from skerry_agent.updates.ports import TrialOutcome
from skerry_protocol.manifest import Acceptance
from skerry_protocol.reported import Reason

log = structlog.get_logger(__name__)

_RUN_ERRORS = (ModelUnavailableError, GenerationFailedError, InvalidRequestError)


class RunnerTrier:
    """Tries candidates on the real runtime; implements ``updates.ports.Trier``.

    Args:
        pool: The runtime.
        active_files: SHA-256 of the files that some slot serves now; others are retired when it is settled.
        perplexities: What was measured on this device.
    """

    def __init__(
        self, pool: ModelPool, active_files: Callable[[], Awaitable[set[str]]], perplexities: Perplexities
    ) -> None:
        self._pool = pool
        self._active_files = active_files
        self._perplexities = perplexities
        self._candidates: dict[str, Runner] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    async def try_model(
        self, model: ModelFile, acceptance: Acceptance, *, replaces: ModelFile | None = None
    ) -> TrialOutcome:
        """Load the model and run its checks; on success the runner stays warm for :meth:`promote`.

        Where memory does not allow both, the replaced model is unloaded until the trial is over.
        """
        await self.discard(model)
        before = await self._before(acceptance, replaces)
        try:
            old = None if replaces is None else replaces.sha256
            runner = await self._pool.trial(model, make_room=True, replaces=old)
        except ModelUnavailableError as error:
            too_big = isinstance(error, NotEnoughMemoryError)
            return _failed("no_memory" if too_big else "load_failed", str(error))
        self._candidates[model.sha256] = runner
        figures: dict[str, float] = {"load_ms": round(runner.info.load_ms, 1)}
        try:
            async with asyncio.timeout(acceptance.deadline_s):
                reason = await run_trial(runner, acceptance, self._perplexities, before, figures)
        except TimeoutError:
            return _failed(
                "trial_timeout", f"the checks took longer than {acceptance.deadline_s:g} s", figures
            )
        except RunnerCrashedError as error:
            return _failed("runner_crashed", f"its runner crashed in the trial: {error}", figures)
        except _RUN_ERRORS as error:
            return _failed("check_failed", f"a check could not be run: {error}", figures)
        return TrialOutcome(passed=reason is None, reason=reason, figures=figures)

    async def _before(self, acceptance: Acceptance, serving: ModelFile | None) -> float | None:
        """The perplexity of what serves, where it is asked for: before the trial needs its memory."""
        limit = acceptance.perplexity
        if serving is None or limit is None or limit.max_increase_percent is None:
            return None
        known = self._perplexities.known(serving)
        if known is not None:
            return known
        try:
            async with asyncio.timeout(acceptance.deadline_s), self._pool.lease(serving) as runner:
                return await self._perplexities.measure(runner, serving)
        except (TimeoutError, *_RUN_ERRORS) as error:
            # It cannot be compared with: the other bounds decide.
            log.warning("incumbent_not_measured", model=serving.label, error=str(error))
            return None

    async def promote(self, model: ModelFile) -> None:
        """Let the candidate serve; the one before stays loaded while there is room for it."""
        runner = self._candidates.pop(model.sha256, None)
        if runner is not None:
            try:
                await self._pool.promote(runner)
            except ModelUnavailableError as error:
                # It passed, and it is committed; the next request starts a new runner.
                log.warning("candidate_ended_early", model=model.label, error=str(error))

    async def settle(self) -> None:
        """Let those drain that no slot serves any more."""
        active = await self._active_files()
        for status in self._pool.status():
            if status.role == "serving" and status.sha256 not in active:
                self._retire(status.sha256)

    async def discard(self, model: ModelFile) -> None:
        """End the candidate's runner, if there is one."""
        runner = self._candidates.pop(model.sha256, None)
        if runner is not None:
            await self._pool.discard(runner)

    def _retire(self, sha256: str) -> None:
        """Requests under way may take minutes: nobody waits for them here."""
        task = asyncio.create_task(self._pool.retire(sha256), name=f"retire {sha256[:12]}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


def _failed(code: str, message: str, figures: dict[str, float] | None = None) -> TrialOutcome:
    return TrialOutcome(passed=False, reason=Reason(code=code, message=message), figures=figures or {})

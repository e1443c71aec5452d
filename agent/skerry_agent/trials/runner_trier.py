"""The trial itself: a candidate in a runner of its own, beside the one that serves."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import structlog

from skerry_agent.runtime import (
    ChatMessage,
    FinishEvent,
    GenerateRequest,
    GenerationFailedError,
    ModelFile,
    ModelPool,
    ModelUnavailableError,
    NotEnoughMemoryError,
    Runner,
    RunnerCrashedError,
    Sampling,
    TokenEvent,
)
from skerry_agent.runtime.errors import InvalidRequestError
from skerry_agent.trials.checks import judge_answer, judge_pattern
from skerry_agent.trials.patterns import search
from skerry_agent.updates.ports import TrialOutcome
from skerry_protocol.manifest import Acceptance, AcceptanceCheck
from skerry_protocol.reported import Reason

log = structlog.get_logger(__name__)


class RunnerTrier:
    """Tries candidates on the real runtime; implements ``updates.ports.Trier``.

    Args:
        pool: The runtime.
        active_files: SHA-256 of the files that some slot serves now; others are retired when it is settled.
    """

    def __init__(self, pool: ModelPool, active_files: Callable[[], Awaitable[set[str]]]) -> None:
        self._pool = pool
        self._active_files = active_files
        self._candidates: dict[str, Runner] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    async def try_model(
        self, model: ModelFile, acceptance: Acceptance, *, replaces: ModelFile | None = None
    ) -> TrialOutcome:
        """Load the model and run its checks; on success the runner stays warm for :meth:`promote`.

        Where memory does not allow both, the replaced model is unloaded until the trial is over.
        """
        await self.discard(model)
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
                for number, check in enumerate(acceptance.checks, start=1):
                    wrong = await _run_check(runner, check, figures)
                    if wrong is not None:
                        return _failed("check_failed", f"acceptance check {number}: {wrong}", figures)
        except TimeoutError:
            return _failed(
                "trial_timeout", f"the checks took longer than {acceptance.deadline_s:g} s", figures
            )
        except RunnerCrashedError as error:
            return _failed("runner_crashed", f"its runner crashed in the trial: {error}", figures)
        except (ModelUnavailableError, GenerationFailedError, InvalidRequestError) as error:
            return _failed("check_failed", f"a check could not be run: {error}", figures)
        figures["rss_bytes"] = float(runner.rss_bytes)
        return TrialOutcome(passed=True, figures=figures)

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


async def _run_check(runner: Runner, check: AcceptanceCheck, figures: dict[str, float]) -> str | None:
    """Run one check, and note the best figures of all."""
    text: list[str] = []
    async with aclosing(runner.generate(_request(runner, check))) as events:
        async for event in events:
            if isinstance(event, TokenEvent):
                text.append(event.text)
            elif isinstance(event, FinishEvent):
                _note(event, figures)
                return await _judge(check, "".join(text), event.usage.completion_tokens)
    return "it ended without finishing its answer"


async def _judge(check: AcceptanceCheck, answer: str, tokens: int) -> str | None:
    wrong = judge_answer(check, answer, tokens)
    if wrong is not None or check.regex is None:
        return wrong
    return judge_pattern(check.regex, await search(check.regex, answer))


def _request(runner: Runner, check: AcceptanceCheck) -> GenerateRequest:
    greedy = Sampling(temperature=0.0)
    if runner.info.has_chat_template:
        messages = (ChatMessage("user", check.prompt),)
        return GenerateRequest(messages=messages, sampling=greedy, max_tokens=check.max_tokens)
    return GenerateRequest(prompt=check.prompt, sampling=greedy, max_tokens=check.max_tokens)


def _note(event: FinishEvent, figures: dict[str, float]) -> None:
    rate, first_ms = event.timings.decode_tokens_per_s, event.timings.first_token_ms
    figures["tokens_per_s"] = round(max(figures.get("tokens_per_s", 0.0), rate), 2)
    figures["first_token_ms"] = round(min(figures.get("first_token_ms", first_ms), first_ms), 1)


def _failed(code: str, message: str, figures: dict[str, float] | None = None) -> TrialOutcome:
    return TrialOutcome(passed=False, reason=Reason(code=code, message=message), figures=figures or {})

"""Follows the config bundles of the desired state: judge, try, keep or go back."""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from skerry_agent.configs.bundles import Settings, Validate, check_settings, join, judge_bundle
from skerry_agent.configs.store import ConfigState, ConfigStore, Refusal, given_up
from skerry_agent.errors import AgentError
from skerry_agent.events import EventSink
from skerry_agent.registry import is_full_disk
from skerry_agent.trust.errors import TargetNotYetVisibleError, TargetRefusedError
from skerry_agent.updates import Clock, SystemClock, TargetSource
from skerry_agent.updates.backoff import full_jitter
from skerry_protocol.config_bundle import ConfigBundle
from skerry_protocol.desired import TargetRef
from skerry_protocol.reported import ConfigReport, Reason

log = structlog.get_logger(__name__)


class ConfigTarget(Protocol):
    """The agent, as far as settings go."""

    async def apply(self, settings: Settings) -> bool:
        """Take the fleet's settings (all of them; what is absent is as without the fleet).

        Returns whether the agent is healthy with them. It may be asked for the same settings again. Where a
        restart is needed it may end the follower's task: the next start goes on with the check.
        """


@dataclass(frozen=True, slots=True)
class ConfigLimits:
    """Times in seconds.

    Attributes:
        health_deadline_s: The agent must be healthy with new settings within this time.
        retry_initial_s: First pause when bundles cannot be had; it doubles, with full jitter.
        retry_max_s: Longest such pause.
    """

    health_deadline_s: float = 60.0
    retry_initial_s: float = 2.0
    retry_max_s: float = 300.0


@dataclass(frozen=True, slots=True)
class _Wanted:
    targets: tuple[TargetRef, ...]
    minimum_versions: Mapping[str, int]


class ConfigFollower:
    """Makes the fleet's settings what the desired state says. Run :meth:`run` as a task.

    Args:
        folder: ``settings.d``.
        targets: Signed bundles.
        target: Takes settings and tells its health.
        validate: The agent's schema.
        allowed_sections: Sections that a bundle may set; never identity, trust or addresses.
        events: Told what was applied and refused.
        clock: For pauses.
        limits: Times.
        uniform: Random numbers in [0, 1) for pauses.
    """

    def __init__(
        self,
        folder: Path,
        *,
        targets: TargetSource,
        target: ConfigTarget,
        validate: Validate,
        allowed_sections: Collection[str],
        events: EventSink,
        clock: Clock | None = None,
        limits: ConfigLimits | None = None,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.changed = asyncio.Event()
        self._store = ConfigStore(folder)
        self._targets = targets
        self._target = target
        self._validate = validate
        self._allowed_sections = frozenset(allowed_sections)
        self._events = events
        self._clock = clock or SystemClock()
        self._limits = limits or ConfigLimits()
        self._uniform = uniform
        self._state = self._store.load()
        self._before = self._store.previous()
        self._wanted: _Wanted | None = None
        self._waiting: Reason | None = None
        self._wake = asyncio.Event()

    def follow(self, targets: Sequence[TargetRef], minimum_versions: Mapping[str, int]) -> None:
        """Go after the bundles of a desired state. The update engine keeps it: call this after each start."""
        self._wanted = _Wanted(tuple(targets), minimum_versions)
        self._wake.set()
        self.changed.set()

    def nudge(self) -> None:
        """Something changed for the better (a network is back): do not wait out pauses."""
        self._wake.set()

    def reports(self) -> list[ConfigReport]:
        """Every wanted bundle: in force or not, and why not."""
        state = self._state
        applied = state.applied if state.status == "applied" else self._before.applied
        refused = {refusal.target: refusal.reason for refusal in state.refused}
        wanted = self._wanted.targets if self._wanted is not None else state.desired
        settled = wanted == state.desired and state.status == "applied"
        return [
            ConfigReport(
                target_path=target.path,
                target_sha256=target.sha256,
                applied=target in applied,
                reason=refused.get(target) if settled else self._waiting,
            )
            for target in wanted
        ]

    async def run(self) -> None:
        """Follow until cancelled."""
        failures = 0
        while True:
            self._wake.clear()
            delay_s = None
            try:
                if not self._state.told:
                    await self._settle(msgspec.structs.replace(self._state, told=True), self._state)
                if self._state.status == "trying":
                    await self._judge_candidate(self._state)
                if self._wanted is not None and self._wanted.targets != self._state.desired:
                    await self._take(self._wanted)
                failures = 0
                self._set_waiting(None)
            except AgentError as error:
                failures += 1
                limits = self._limits
                delay_s = full_jitter(failures, limits.retry_initial_s, limits.retry_max_s, self._uniform)
                visible = not isinstance(error, TargetNotYetVisibleError)
                failed = "no_space" if is_full_disk(error) else "failed"
                self._set_waiting(Reason(failed if visible else "target_not_yet_visible", str(error)))
                log.info("configs_wait", error=str(error), delay_s=delay_s)
            await self._clock.wait(self._wake, delay_s)

    async def _take(self, wanted: _Wanted) -> None:
        """Judge all wanted bundles, and try the good ones together."""
        good: list[tuple[TargetRef, ConfigBundle]] = []
        refused: list[Refusal] = []
        for target in wanted.targets:
            judged = await self._judge(target, wanted.minimum_versions)
            if isinstance(judged, Reason):
                refused.append(Refusal(target, judged))
            else:
                good.append((target, judged))
        self._set_waiting(None)
        settings = join(bundle.settings for _, bundle in good)
        wrong = check_settings(settings, self._validate)
        if wrong is not None:
            refused += [Refusal(target, Reason("settings_invalid", wrong)) for target, _ in good]
            good, settings = [], self._state.settings
        for target, bundle in good:
            await asyncio.to_thread(self._store.keep_bundle, target, bundle.settings)
        applied = self._state.applied if wrong is not None else tuple(target for target, _ in good)
        candidate = ConfigState(
            desired=wanted.targets, applied=applied, refused=tuple(refused), settings=settings
        )
        if settings == self._state.settings:
            await self._settle(candidate, self._state)
            return
        trying = msgspec.structs.replace(candidate, status="trying")
        await asyncio.to_thread(self._store.begin, trying)
        self._state, self._before = trying, self._state
        self.changed.set()
        await self._judge_candidate(trying)

    async def _judge(self, target: TargetRef, minimum_versions: Mapping[str, int]) -> ConfigBundle | Reason:
        try:
            data = await self._targets.manifest(target, minimum_versions)
        except TargetRefusedError as error:
            return Reason(error.code, error.message)
        return judge_bundle(
            target.path, data, allowed_sections=self._allowed_sections, validate=self._validate
        )

    async def _judge_candidate(self, candidate: ConfigState) -> None:
        """Let the agent take the candidate's settings; keep them if it is healthy, else go back."""
        before = self._before
        problem = await self._apply(candidate.settings)
        if problem is None:
            await self._settle(msgspec.structs.replace(candidate, status="applied", starts=0), before)
            return
        log.warning("config_rolled_back", error=problem)
        state = given_up(candidate, before, Reason("unhealthy", problem))
        await self._settle(state, before)
        again = await self._apply(state.settings)
        if again is not None:
            log.error("config_rollback_unhealthy", error=again)

    async def _apply(self, settings: Settings) -> str | None:
        """Let the agent take settings; returns what is wrong, or None."""
        try:
            async with asyncio.timeout(self._limits.health_deadline_s):
                healthy = await self._target.apply(settings)
        except TimeoutError:
            return f"the agent was not healthy within {self._limits.health_deadline_s:g} s"
        except AgentError as error:
            return str(error)
        return None if healthy else "the agent was not healthy with these settings"

    async def _settle(self, state: ConfigState, before: ConfigState) -> None:
        """Store an outcome and tell of it."""
        await asyncio.to_thread(self._store.put, state)
        self._state = state
        self.changed.set()
        for target in state.applied:
            if target not in before.applied:
                await self._events.emit(
                    "config_applied", audit=True, target=target.path, target_sha256=target.sha256
                )
        for refusal in state.refused:
            await self._events.emit(
                "config_refused",
                audit=True,
                target=refusal.target.path,
                target_sha256=refusal.target.sha256,
                code=refusal.reason.code,
                message=refusal.reason.message,
            )

    def _set_waiting(self, reason: Reason | None) -> None:
        if reason != self._waiting:
            self._waiting = reason
            self.changed.set()

"""What each state of an update does. Every step may be cut off anywhere and done again."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.registry import NoSpaceError, Registry
from skerry_agent.updates.download import Downloader
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.obtaining import Obtaining
from skerry_agent.updates.ports import Clock, DeviceView, HealthView, TargetSource, Trier
from skerry_agent.updates.proving import Proving
from skerry_agent.updates.schedule import Starts
from skerry_agent.updates.soaking import Soaking
from skerry_agent.updates.step import CannotGoOnError, Go, Pause, Step, Work, file_sha256, refuse, why
from skerry_agent.updates.table import State
from skerry_protocol.reported import Reason

log = structlog.get_logger(__name__)

_LATE: frozenset[State] = frozenset({"trial", "switching", "soaking", "going_back"})
"""From here on a version fails, or waits; it is not refused any more."""


class Steps:
    """The effects, by state."""

    def __init__(
        self,
        registry: Registry,
        *,
        targets: TargetSource,
        downloader: Downloader,
        starts: Starts,
        trier: Trier,
        device: DeviceView,
        health: HealthView,
        clock: Clock,
        limits: UpdateLimits,
        activation_delay_s: Callable[[], float],
    ) -> None:
        self._targets = targets
        self._device = device
        self._limits = limits
        self._registry = registry
        obtaining = Obtaining(
            registry, targets=targets, downloader=downloader, starts=starts, device=device, limits=limits
        )
        proving = Proving(
            registry,
            trier=trier,
            device=device,
            health=health,
            limits=limits,
            activation_delay_s=activation_delay_s,
        )
        soaking = Soaking(registry, trier=trier, health=health, clock=clock, limits=limits)
        self._effects: Mapping[State, Callable[[Work], Awaitable[Step]]] = {
            "resolving": obtaining.resolve,
            "checking": obtaining.check,
            "downloading": obtaining.download,
            "verifying": obtaining.verify,
            "staged": proving.stage,
            "trial": proving.try_version,
            "switching": soaking.switch,
            "soaking": soaking.soak,
            "going_back": soaking.go_back,
        }

    async def run(self, work: Work) -> Step:
        """Do what the record's state does; failures of the world become pauses."""
        before = self._targets.carried_bytes
        step = await self._run(work)
        carried = self._targets.carried_bytes - before
        if not carried:
            return step
        return replace(step, changes={**step.changes, "bytes_metadata": work.record.bytes_metadata + carried})

    async def _run(self, work: Work) -> Step:
        try:
            return await self._effects[work.record.state](work)
        except NoSpaceError as error:
            return await self._without_room(work, error)
        except CannotGoOnError as error:
            reason = Reason("no_variant", str(error))
            return Go("failed" if work.record.state in _LATE else "refused", {"reason": reason})
        except (AgentError, OSError) as error:
            log.warning(
                "update_step_failed", slot=work.record.slot, state=work.record.state, error=str(error)
            )
            return Pause(why(error))

    async def _without_room(self, work: Work, error: NoSpaceError) -> Step:
        """The disk is full: make room and go on, or refuse until there is as much more as is missing."""
        reason = Reason("no_space", str(error))
        if work.record.state in _LATE:
            return Pause(reason)
        try:
            if work.record.state != "checking" and await self._registry.collect_garbage(error.missing_bytes):
                return Pause(reason, after_s=0.0)
            for part in work.parts:
                sha256 = file_sha256(part.manifest, self._device.facts(), self._limits)
                if sha256 is not None:
                    # From here on its download counts as room, so the sum is what has to be there.
                    await self._registry.release(sha256)
            need_bytes = await self._registry.room_bytes() + error.missing_bytes
        except (AgentError, OSError) as failure:
            log.warning("room_unknown", slot=work.record.slot, error=str(failure))
            return Pause(reason)
        return refuse("no_space", str(error), need_bytes=max(need_bytes, error.missing_bytes))

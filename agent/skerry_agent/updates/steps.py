"""What each state of an update does. Every step may be cut off anywhere and done again."""

from collections.abc import Awaitable, Callable, Mapping

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.registry import NoSpaceError, Registry
from skerry_agent.updates.download import Downloader
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.obtaining import Obtaining
from skerry_agent.updates.ports import DeviceView, TargetSource, Trier
from skerry_agent.updates.proving import Proving
from skerry_agent.updates.step import CannotGoOnError, Go, Pause, Step, Work, find_file, refuse
from skerry_protocol.reported import Reason, SlotState

log = structlog.get_logger(__name__)


class Steps:
    """The effects, by state."""

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
        self._device = device
        self._limits = limits
        obtaining = Obtaining(registry, targets=targets, downloader=downloader, device=device, limits=limits)
        proving = Proving(
            registry, trier=trier, device=device, limits=limits, activation_delay_s=activation_delay_s
        )
        self._effects: Mapping[SlotState, Callable[[Work], Awaitable[Step]]] = {
            "resolving": obtaining.resolve,
            "checking": obtaining.check,
            "downloading": obtaining.download,
            "verifying": obtaining.verify,
            "staged": proving.stage,
            "trial": proving.try_version,
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

    def _length(self, work: Work) -> int:
        found = find_file(work, self._device.facts(), self._limits)
        return 0 if found is None or isinstance(found[1], Reason) else found[1].length

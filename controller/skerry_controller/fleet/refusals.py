"""Refused messages of devices stand in the audit log, few enough that a flood cannot fill the disk."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from skerry_controller.audit import note
from skerry_controller.clock import Clock
from skerry_controller.database import Database

log = structlog.get_logger(__name__)

ACTION = "message_refused"
_MAX_MESSAGE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class RefusalLimits:
    """How much is written down.

    Attributes:
        per_interval: Entries for one device and code in one interval.
        interval_s: Length of the interval.
        max_tracked: Devices and codes that are remembered at once.
    """

    per_interval: int = 5
    interval_s: float = 60.0
    max_tracked: int = 10_000


@dataclass(slots=True)
class _Budget:
    started: float
    written: int = 0
    suppressed: int = 0


class Refusals:
    """Records why a message was not taken."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        monotonic: Callable[[], float],
        limits: RefusalLimits | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._monotonic = monotonic
        self._limits = limits or RefusalLimits()
        self._budgets: dict[tuple[str, str], _Budget] = {}

    async def record(self, device: str, leaf: str, code: str, message: str) -> bool:
        """Write the refusal down unless there were many alike just now.

        Args:
            device: Whose topic it came by.
            leaf: The topic's last level.
            code: A stable code.
            message: For people.

        Returns:
            Whether it was written.
        """
        suppressed = self._spend(device, code)
        if suppressed is None:
            return False
        log.warning("message_refused", device=device, leaf=leaf, code=code, reason=message)
        detail: dict[str, object] = {"leaf": leaf, "code": code, "message": message[:_MAX_MESSAGE_CHARACTERS]}
        if suppressed:
            detail["suppressed_before"] = suppressed
        async with self._database.transaction() as session:
            note(
                session,
                at=self._clock(),
                actor=f"device:{device}",
                action=ACTION,
                subject=device,
                **detail,
            )
        return True

    def _spend(self, device: str, code: str) -> int | None:
        now = self._monotonic()
        if len(self._budgets) >= self._limits.max_tracked:
            self._budgets = {
                key: budget
                for key, budget in self._budgets.items()
                if now - budget.started < self._limits.interval_s
            }
        budget = self._budgets.setdefault((device, code), _Budget(now))
        suppressed = 0
        if now - budget.started >= self._limits.interval_s:
            suppressed, budget.suppressed = budget.suppressed, 0
            budget.started, budget.written = now, 0
        if budget.written >= self._limits.per_interval:
            budget.suppressed += 1
            return None
        budget.written += 1
        return suppressed

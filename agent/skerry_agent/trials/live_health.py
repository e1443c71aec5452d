"""How models fare with real requests on this device; implements ``updates.ports.HealthView``."""

from collections.abc import Callable

from skerry_agent.runtime import HealthCounts, ModelPool, hottest_zone


class LiveHealth:
    """The runtime's counters and the device's temperature.

    Args:
        pool: The runtime.
        read_celsius: The temperature now; None where no sensor tells it.
    """

    def __init__(self, pool: ModelPool, read_celsius: Callable[[], float | None] = hottest_zone) -> None:
        self._pool = pool
        self._read_celsius = read_celsius

    def counts(self, file_sha256: str) -> HealthCounts:
        """What was counted of a model file since the agent started."""
        return self._pool.health(file_sha256)

    def celsius(self) -> float | None:
        """The device's temperature now."""
        return self._read_celsius()

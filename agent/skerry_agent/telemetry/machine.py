"""Metrics of the machine and of this process, as one flat table; every name ends in its unit.

====================================  ==============================================================
name                                  meaning
====================================  ==============================================================
``cpu_percent``                       Busy time of all cores since the previous sample, 0 to 100.
``load_1m``                           Load average over one minute, processes.
``memory_used_bytes``                 Memory that is neither free nor reclaimable.
``memory_available_bytes``            Memory that a program can get without swapping.
``process_rss_bytes``                 Resident memory of the daemon, without the runners.
``runners_rss_bytes``                 Resident memory of its child processes (mapped models included).
``disk_free_bytes``                   Free space for an unprivileged user where the state lies.
``temperature_celsius``               The hottest sensor; absent where there is none.
``uptime_s``                          Since the machine started.
====================================  ==============================================================

A value that cannot be read is left out; a sample is never refused for one of them.
"""

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import structlog

log = structlog.get_logger(__name__)

METRIC_NAMES = frozenset(
    {
        "cpu_percent",
        "load_1m",
        "memory_used_bytes",
        "memory_available_bytes",
        "process_rss_bytes",
        "runners_rss_bytes",
        "disk_free_bytes",
        "temperature_celsius",
        "uptime_s",
    }
)
_PLAUSIBLE_CELSIUS = (-60.0, 200.0)
"""Broken drivers report such things as -273 or 65535."""


class Machine:
    """Reads the metrics. It blocks for a few milliseconds: call it in a thread.

    Args:
        folder: Where the state lies, for the free disk space.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = psutil.Process()
        self._missing: set[str] = set()
        psutil.cpu_percent(interval=None)  # the first call starts the measurement

    def sample(self) -> dict[str, float]:
        """The metrics now."""
        metrics: dict[str, float] = {}
        for read in (self._cpu, self._memory, self._processes, self._disk, self._temperature, self._uptime):
            metrics.update(self._attempt(read))
        return metrics

    def _attempt(self, read: Callable[[], dict[str, float]]) -> dict[str, float]:
        try:
            return read()
        except (psutil.Error, OSError, AttributeError, NotImplementedError) as error:
            if read.__name__ not in self._missing:
                self._missing.add(read.__name__)
                log.warning("metric_unavailable", metric=read.__name__.lstrip("_"), error=str(error))
            return {}

    def _cpu(self) -> dict[str, float]:
        return {"cpu_percent": psutil.cpu_percent(interval=None), "load_1m": psutil.getloadavg()[0]}

    def _memory(self) -> dict[str, float]:
        memory = psutil.virtual_memory()
        return {"memory_used_bytes": memory.used, "memory_available_bytes": memory.available}

    def _processes(self) -> dict[str, float]:
        runners = 0
        for child in self._process.children(recursive=True):
            try:
                runners += child.memory_info().rss
            except psutil.Error:
                continue  # it ended meanwhile
        return {"process_rss_bytes": self._process.memory_info().rss, "runners_rss_bytes": runners}

    def _disk(self) -> dict[str, float]:
        return {"disk_free_bytes": psutil.disk_usage(str(self._folder)).free}

    def _temperature(self) -> dict[str, float]:
        low, high = _PLAUSIBLE_CELSIUS
        readings = [
            sensor.current
            for sensors in psutil.sensors_temperatures().values()
            for sensor in sensors
            if sensor.current is not None and low < sensor.current < high
        ]
        return {"temperature_celsius": max(readings)} if readings else {}

    def _uptime(self) -> dict[str, float]:
        return {"uptime_s": time.clock_gettime(time.CLOCK_BOOTTIME)}

"""Energy that the machine takes: Intel's and AMD's counters (RAPL), or a power sensor. Linux."""

import threading
import time
from pathlib import Path
from typing import Final, Protocol, Self

SAMPLE_EVERY_S: Final = 0.05
NO_SENSOR: Final = (
    "no energy: there is no RAPL counter (/sys/class/powercap) and no power sensor (/sys/class/hwmon)"
)
_MICRO: Final = 1e-6


class EnergyMeter(Protocol):
    """Counts joules. Close it."""

    source: str
    """In words for a person."""

    def joules(self) -> float:
        """So many since some moment; only differences mean something."""

    def close(self) -> None:
        """Let go of it."""


class RaplMeter:
    """The sum of all packages' counters, which start again at their largest value.

    Read it at least once a minute: a counter that went round twice cannot be told.
    """

    source = "RAPL, whole processor packages"

    def __init__(self, zones: list[Path]) -> None:
        self._zones = [(zone / "energy_uj", _number(zone / "max_energy_range_uj")) for zone in zones]
        self._last = [_number(path) for path, _ in self._zones]
        self._total = 0

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """The counters that may be read; None without any."""
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]*"))
        packages = [zone for zone in zones if zone.name.count(":") == 1]
        try:
            return cls(packages) if packages else None
        except (OSError, ValueError):
            return None

    def joules(self) -> float:
        """Joules since it was made."""
        for index, (path, largest) in enumerate(self._zones):
            now = _number(path)
            step = now - self._last[index]
            self._total += step if step >= 0 else step + largest
            self._last[index] = now
        return self._total * _MICRO

    def close(self) -> None:
        """Nothing to let go of."""


class SensorMeter:
    """A sensor of the power that is drawn now, summed up by a thread."""

    def __init__(self, sensor: Path) -> None:
        self.source = f"power sensor {sensor.parent.name}/{sensor.name}, sampled"
        self._sensor = sensor
        self._joules = 0.0
        self._watts = _number(sensor) * _MICRO
        self._at = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="power-sensor", daemon=True)
        self._thread.start()

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """The first sensor that may be read; None without one."""
        for name in ("power1_input", "power1_average"):
            for sensor in sorted((root / "sys/class/hwmon").glob(f"hwmon*/{name}")):
                try:
                    return cls(sensor)
                except (OSError, ValueError):
                    continue
        return None

    def joules(self) -> float:
        """Joules since it was made."""
        with self._lock:
            now = time.monotonic()
            before = self._watts
            try:
                self._watts = _number(self._sensor) * _MICRO
            except (OSError, ValueError):
                self._watts = before
            self._joules += (before + self._watts) / 2 * (now - self._at)
            self._at = now
            return self._joules

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_EVERY_S):
            self.joules()


def find_meter(root: Path = Path("/")) -> EnergyMeter | None:
    """What this machine counts energy with; None when it cannot."""
    return RaplMeter.find(root) or SensorMeter.find(root)


def why_none(root: Path = Path("/")) -> str:
    """Why there is no meter, for the notes of a bench."""
    if any((root / "sys/class/powercap").glob("intel-rapl:*/energy_uj")):
        return "no energy: only root may read the RAPL counters (/sys/class/powercap)"
    return NO_SENSOR


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))

"""Whether other programs used the processor while something was measured. Linux."""

import os
from pathlib import Path
from typing import Final

BUSY_FROM: Final = 0.1
"""Cores that others use: from here on it is said."""
_IDLE_FIELDS: Final = (3, 4)
"""``idle`` and ``iowait`` of /proc/stat; ``guest`` is within ``user``, so only the first eight count."""
_FIELDS: Final = 8
_STEAL: Final = 7


class Neighbours:
    """Counts from its construction on.

    Args:
        proc: Where the kernel tells.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._before = self._read()

    def note(self) -> str | None:
        """What to say of the time since; None when the machine was quiet, or does not tell."""
        now = self._read()
        if self._before is None or now is None:
            return None
        total, used, own, stolen = (b - a for a, b in zip(self._before, now, strict=True))
        cores = os.cpu_count() or 1
        if total <= 0:
            return None
        others = max(0.0, (used - own) / total * cores)
        if others < BUSY_FROM:
            return None
        text = f"the machine was busy: others used {others:.1f} of {cores} cores"
        share = stolen / total * cores
        return text if share < BUSY_FROM else f"{text}, {share:.1f} of them its host"

    def _read(self) -> tuple[float, float, float, float] | None:
        try:
            line = (self._proc / "stat").read_text(encoding="ascii").splitlines()[0]
            times = [int(word) for word in line.split()[1 : 1 + _FIELDS]]
            idle = sum(times[index] for index in _IDLE_FIELDS)
            stolen = times[_STEAL]
        except (OSError, ValueError, IndexError):
            return None
        own = os.times()
        ticks = os.sysconf("SC_CLK_TCK")
        return sum(times), sum(times) - idle, sum(own[:4]) * ticks, stolen

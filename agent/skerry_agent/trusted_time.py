"""The device's idea of now, on hardware without a clock that can be believed.

The system clock may say 1970 (no RTC, no NTP yet) or 2040 (a flat battery, a forged NTP answer). So it is
believed only inside a window:

* **The floor.** Time was at least this: the build date of this program, the notBefore dates of verified
  certificates, and issue times that a trusted key signed. The system clock alone never raises it. It is
  kept on disk, so a restart does not go back; it is written sparingly, since it is raised all the time.
* **The bound.** The floor plus ``window_s``: a clock beyond that is as wrong as one before the floor.

Outside of the window, now is the floor plus the time that passed since this process knew it.

A stolen director key could sign issue times far ahead and so make everything look expired. Hence the
**anchor**: the issue time of the trust document, which only offline keys sign. No issue time lifts the floor
beyond the anchor plus ``window_s``, and a trust document with a higher *epoch* resets the floor to its own
issue time. :attr:`TrustedTime.anchor` is what a refresh falls back to when it looks for such a document.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from skerry_agent.durable import make_folder, write_atomic
from skerry_agent.errors import WorldError
from skerry_protocol.codec import Document

log = structlog.get_logger(__name__)

BUILD_DATE_S = 1_793_491_200
"""2026-11-01 in Unix seconds: no device runs this program earlier. Raised at each release."""

_YEAR_S = 365.25 * 86_400


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How trusted time is bounded.

    Attributes:
        window_s: How far beyond the floor the system clock may be, and how far beyond the anchor signed
            issue times may lift the floor.
        persist_step_s: The floor is written again when it rose by so much since the last time. What is
            not written is lost at a restart, which costs nothing but so much of the floor's height.
    """

    window_s: float = 10 * _YEAR_S
    persist_step_s: float = 6 * 3600


class _Stored(Document, frozen=True):
    floor: float
    anchor: float
    epoch: int


class TrustedTime:
    """Now, within what is known. Safe to use from several threads."""

    def __init__(
        self,
        path: Path,
        wall_clock: Callable[[], float] = time.time,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        build_date_s: float = BUILD_DATE_S,
        limits: TimeLimits | None = None,
    ) -> None:
        """Read the stored floor; a file that is missing or damaged counts as nothing known.

        Args:
            path: The file of the floor, read now and written sparingly.
            wall_clock: The system clock, Unix seconds.
            monotonic: Seconds that never go back.
            build_date_s: The floor below all floors, Unix seconds.
            limits: Window and thrift.
        """
        self._path = path
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._build_date = float(build_date_s)
        self._limits = limits or TimeLimits()
        self._lock = threading.Lock()
        stored = _read(path)
        self._anchor = max(self._build_date, stored.anchor if stored else 0.0)
        self._epoch = stored.epoch if stored else 0
        floor = max(self._anchor, stored.floor if stored else 0.0)
        self._floor = min(floor, self._anchor + self._limits.window_s)
        self._floor_known_at = monotonic()
        self._written = self._floor if stored else 0.0

    @property
    def floor(self) -> float:
        """Time is at least this, Unix seconds."""
        return self._floor

    @property
    def anchor(self) -> float:
        """The highest time that offline keys or this program vouch for, Unix seconds."""
        return self._anchor

    def now(self) -> float:
        """Trusted time, Unix seconds."""
        with self._lock:
            wall = self._wall_clock()
            if self._floor <= wall <= self._floor + self._limits.window_s:
                return wall
            return self._floor + max(0.0, self._monotonic() - self._floor_known_at)

    def clock_since_anchor(self) -> float | None:
        """What the system clock says, if that is from the anchor on and within the window beyond it.

        For one question only: whether to talk to a server at all when the floor says that its certificate has
        expired. A floor that a stolen key raised would otherwise keep out the document that resets it.
        """
        with self._lock:
            wall = self._wall_clock()
            return wall if self._anchor <= wall <= self._anchor + self._limits.window_s else None

    def clock_is_believed(self) -> bool:
        """Whether the system clock is inside the window; a doctor tells a person when it is not."""
        with self._lock:
            return self._floor <= self._wall_clock() <= self._floor + self._limits.window_s

    def raise_floor(self, seconds: float, source: str) -> None:
        """Note that it is at least ``seconds``, as something verified says.

        Call it only with times that a trusted key signed, or from verified certificates. May write
        a small file (once per ``persist_step_s`` of rise).

        Args:
            seconds: Unix seconds.
            source: What said so, for the log.
        """
        with self._lock:
            if seconds > self._anchor + self._limits.window_s:
                log.warning("time_beyond_bound", seconds=seconds, source=source, anchor=self._anchor)
                return
            if self._lift(seconds) and self._floor - self._written >= self._limits.persist_step_s:
                self._write()

    def set_anchor(self, epoch: int, issued_at: float) -> None:
        """Take the issue time of a verified trust document.

        A higher epoch than the known one resets the floor to it, down too: the way out after a key
        signed times far ahead. With the same epoch it only raises.

        Args:
            epoch: The document's epoch.
            issued_at: Its issue time, Unix seconds.
        """
        with self._lock:
            anchor = max(self._build_date, float(issued_at))
            if epoch > self._epoch:
                self._epoch, self._anchor = epoch, anchor
                self._floor, self._floor_known_at = anchor, self._monotonic()
                self._write()
            elif epoch == self._epoch and anchor > self._anchor:
                self._anchor = anchor
                self._lift(anchor)
                self._write()

    def _lift(self, seconds: float) -> bool:
        elapsed = self._floor + max(0.0, self._monotonic() - self._floor_known_at)
        if seconds <= self._floor:
            return False
        if seconds >= elapsed:
            self._floor_known_at = self._monotonic()
        else:  # keep what passed: now() must not step back because an older time was confirmed
            self._floor_known_at += seconds - self._floor
        self._floor = float(seconds)
        return True

    def _write(self) -> None:
        stored = _Stored(floor=self._floor, anchor=self._anchor, epoch=self._epoch)
        try:
            make_folder(self._path.parent)
            write_atomic(self._path, msgspec.json.encode(stored))
        except OSError as error:
            # Time goes on without the file; what depends on the disk will fail with a better message.
            log.warning("time_floor_not_written", path=str(self._path), error=str(error))
            return
        self._written = self._floor


def _read(path: Path) -> _Stored | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Stored)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        log.warning("time_floor_damaged", path=str(path), error=str(error))
        return None
    except OSError as error:
        raise WorldError(f"cannot read {path}: {error.strerror}; check the disk and permissions") from error

"""How many bytes may be in flight, and how large frames are. Pure: times come in as arguments.

Throughput is measured for each frame as what was delivered between its request and its arrival, divided by
that time; a sample of a time in which the window was not used up can only raise the estimate. Then

* bytes in flight are at most ``target_s`` of throughput: on a slow link, keepalives and acknowledgements
  wait at most so long behind data; on a fast one the bound is ``max_frames`` full frames;
* frames are a quarter of that, so that a few are always under way.

Where the path alone takes longer than ``target_s``, one and a half times the shortest time seen counts
instead: otherwise the window would shrink for ever.

Source: delivery rate estimation, draft-cheng-iccrg-delivery-rate-estimation (as in TCP BBR).
"""

from typing import NamedTuple

from skerry_agent.sync.limits import WindowLimits

FRAMES_IN_FLIGHT = 4
"""How many frames share a window that is below its upper bound."""
_RISE = 0.5
_FALL = 0.125
_SHORTEST_S = 0.0005
"""Shorter times are not measured well by an event loop."""


class SentFrame(NamedTuple):
    """What is remembered of a request under way."""

    length: int
    sent_at: float
    delivered: int
    delivered_at: float
    window_was_full: bool


class FlowWindow:
    """Flow control over one connection.

    Args:
        max_frame_bytes: The broker's bound on one frame.
        limits: See there.
    """

    def __init__(self, max_frame_bytes: int, limits: WindowLimits) -> None:
        self._limits = limits
        self._max_frame = max_frame_bytes
        self._min_frame = min(limits.min_frame_bytes, max_frame_bytes)
        self._max_budget = limits.max_frames * max_frame_bytes
        self._rate: float | None = None
        self._shortest_s: float | None = None
        self._delivered = 0
        self._delivered_at = 0.0
        self.in_flight_bytes = 0

    @property
    def bytes_per_s(self) -> float | None:
        """Measured throughput, or None before the first frame came."""
        return self._rate

    @property
    def budget_bytes(self) -> int:
        """How many bytes may be in flight."""
        if self._rate is None:
            return min(self._limits.initial_frames * self._min_frame, self._max_budget)
        target_s = max(self._limits.target_s, 1.5 * (self._shortest_s or 0.0))
        return int(min(max(self._rate * target_s, self._min_frame), self._max_budget))

    @property
    def frame_bytes(self) -> int:
        """How large the next frame should be at most."""
        return min(max(self.budget_bytes // FRAMES_IN_FLIGHT, self._min_frame), self._max_frame)

    def may_send(self, length: int) -> bool:
        """Whether a request for ``length`` bytes may go out now; one may always when nothing is in flight."""
        return self.in_flight_bytes == 0 or self.in_flight_bytes + length <= self.budget_bytes

    def expected_s(self) -> float:
        """How long what is in flight takes to arrive, or 0 when that is not known yet."""
        return self.in_flight_bytes / self._rate if self._rate else 0.0

    def sent(self, length: int, now: float) -> SentFrame:
        """Note that ``length`` bytes were requested at ``now`` (monotonic seconds)."""
        if self.in_flight_bytes == 0:
            self._delivered_at = now  # idle time is no delivery time
        self.in_flight_bytes += length
        is_full = self.in_flight_bytes + self.frame_bytes > self.budget_bytes
        return SentFrame(length, now, self._delivered, self._delivered_at, is_full)

    def received(self, frame: SentFrame, length: int, now: float) -> None:
        """Note that ``length`` bytes came for a request; fewer than requested is fine."""
        self.in_flight_bytes -= frame.length
        self._delivered += length
        self._delivered_at = now
        took_s = max(now - frame.sent_at, _SHORTEST_S)
        if length == frame.length:
            self._shortest_s = min(self._shortest_s or took_s, took_s)
        self._learn(frame, max(now - frame.delivered_at, took_s))

    def lost(self, frame: SentFrame) -> None:
        """Note that a request was given up: throughput is taken as half of what it was."""
        self.in_flight_bytes -= frame.length
        if self._rate is not None:
            self._rate /= 2

    def withdrawn(self, frame: SentFrame) -> None:
        """Note that a request ended for a reason that says nothing of the link."""
        self.in_flight_bytes -= frame.length

    def _learn(self, frame: SentFrame, over_s: float) -> None:
        sample = (self._delivered - frame.delivered) / over_s
        if self._rate is None:
            self._rate = sample
        elif sample > self._rate:
            self._rate += _RISE * (sample - self._rate)
        elif frame.window_was_full:
            self._rate += _FALL * (sample - self._rate)

"""How a model's requests fare: counters that can be added, stored and compared."""

from dataclasses import dataclass, field

import msgspec

from skerry_agent.runtime.requests import Timings, Usage


class HealthCounts(msgspec.Struct, frozen=True):
    """What was counted of one model file.

    Attributes:
        finished: Requests that went well.
        failed: Requests that failed for the model's or its runner's sake; what clients did wrong or gave up
            is not among them.
        crashes: Runners that ended by themselves.
        first_token_s: Times to the first token of the finished requests, summed up, in seconds.
        decoded: Tokens after the first ones, and ``decode_s`` the time that they took together.
    """

    finished: int = 0
    failed: int = 0
    crashes: int = 0
    first_token_s: float = 0.0
    decoded: int = 0
    decode_s: float = 0.0

    def __add__(self, other: "HealthCounts") -> "HealthCounts":
        return self._plus(other, 1)

    def __sub__(self, other: "HealthCounts") -> "HealthCounts":
        return self._plus(other, -1)

    def _plus(self, other: "HealthCounts", sign: int) -> "HealthCounts":
        return HealthCounts(
            finished=self.finished + sign * other.finished,
            failed=self.failed + sign * other.failed,
            crashes=self.crashes + sign * other.crashes,
            first_token_s=self.first_token_s + sign * other.first_token_s,
            decoded=self.decoded + sign * other.decoded,
            decode_s=self.decode_s + sign * other.decode_s,
        )

    @property
    def ended(self) -> int:
        """Requests that went well or failed."""
        return self.finished + self.failed

    @property
    def error_percent(self) -> float:
        """Share of the requests that failed, 0 to 100; 0 before the first."""
        return 100.0 * self.failed / self.ended if self.ended else 0.0

    @property
    def first_token_ms(self) -> float | None:
        """Mean time to the first token; None before the first finished request."""
        return 1e3 * self.first_token_s / self.finished if self.finished else None

    @property
    def tokens_per_s(self) -> float | None:
        """Mean decoding rate of one request; None before the first."""
        return self.decoded / self.decode_s if self.decode_s > 0 else None


@dataclass(slots=True)
class HealthTally:
    """Counts for one model file, over all its runners since the daemon started."""

    counts: HealthCounts = field(default_factory=HealthCounts)

    def finish(self, usage: Usage, timings: Timings, *, first_token_s: float) -> None:
        """A request went well; as ``Meter.finish``."""
        timed = timings.decode_tokens_per_s > 0
        self.counts += HealthCounts(
            finished=1,
            first_token_s=first_token_s,
            decoded=usage.completion_tokens - 1 if timed else 0,
            decode_s=timings.decode_ms / 1e3 if timed else 0.0,
        )

    def fail(self) -> None:
        """A request failed for the model's or its runner's sake."""
        self.counts += HealthCounts(failed=1)

    def crash(self) -> None:
        """A runner ended by itself."""
        self.counts += HealthCounts(crashes=1)

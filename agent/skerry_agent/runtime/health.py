"""How a model's requests fare: counters that can be added, stored and compared."""

import msgspec


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
        return HealthCounts(*(a + b for a, b in zip(_values(self), _values(other), strict=True)))

    def __sub__(self, other: "HealthCounts") -> "HealthCounts":
        return HealthCounts(*(a - b for a, b in zip(_values(self), _values(other), strict=True)))

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


def _values(counts: HealthCounts) -> tuple[float, ...]:
    return tuple(msgspec.structs.astuple(counts))

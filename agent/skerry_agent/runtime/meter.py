"""Counts what the runners did; one meter for all runners of a pool."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from skerry_agent.runtime.health import HealthTally
from skerry_agent.runtime.model import RuntimeMetrics
from skerry_agent.runtime.requests import Timings, Usage

UnloadReason = Literal["unused", "requested", "for_model", "for_trial", "for_device", "replaced"]

MIN_RETRY_S = 1.0
MAX_RETRY_S = 60.0


@dataclass(slots=True)
class Meter:
    """Counters since the daemon started. Times are in seconds, as the caller of ``generate`` saw them."""

    requests: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    repeated: int = 0
    crashes: int = 0
    loads: int = 0
    loads_refused: int = 0
    unloads: Counter[UnloadReason] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    by_file: dict[str, HealthTally] = field(default_factory=dict)
    last_tokens_per_s: float | None = None
    last_first_token_s: float | None = None
    _busy_s: float = 0.0
    _first_token_s: float = 0.0
    _decoded: int = 0
    _decode_s: float = 0.0

    def of(self, sha256: str) -> HealthTally:
        """The counters of one model file alone."""
        return self.by_file.setdefault(sha256, HealthTally())

    def finish(self, usage: Usage, timings: Timings, *, first_token_s: float) -> None:
        """Count a request that went well."""
        self.finished += 1
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.last_first_token_s = first_token_s
        self._first_token_s += first_token_s
        self._busy_s += (timings.prompt_ms + timings.decode_ms) / 1e3
        if timings.decode_tokens_per_s > 0:
            self.last_tokens_per_s = timings.decode_tokens_per_s
            # The rate is of all tokens after the first.
            self._decoded += usage.completion_tokens - 1
            self._decode_s += timings.decode_ms / 1e3

    @property
    def mean_tokens_per_s(self) -> float | None:
        """All decoded tokens over all time of decoding; None before the first."""
        return self._decoded / self._decode_s if self._decode_s > 0 else None

    @property
    def mean_first_token_s(self) -> float | None:
        """Mean over the finished requests; None before the first."""
        return self._first_token_s / self.finished if self.finished else None

    @property
    def retry_after_s(self) -> float:
        """When a refused request may find a place: as soon as one request ends, which takes a mean time."""
        mean = self._busy_s / self.finished if self.finished else 0.0
        return min(max(mean, MIN_RETRY_S), MAX_RETRY_S)

    def metrics(
        self, *, queue_depth: int, in_flight: int, memory: Mapping[str, int] = MappingProxyType({})
    ) -> RuntimeMetrics:
        """The counters, with what is going on now.

        Args:
            queue_depth: Requests that wait.
            in_flight: Requests that wait or run.
            memory: The fields of RuntimeMetrics about models in memory now.
        """
        first, mean_first = self.last_first_token_s, self.mean_first_token_s
        return RuntimeMetrics(
            requests=self.requests,
            requests_failed=self.failed,
            requests_cancelled=self.cancelled,
            requests_refused=self.refused,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            last_tokens_per_s=self.last_tokens_per_s,
            mean_tokens_per_s=self.mean_tokens_per_s,
            last_first_token_ms=None if first is None else first * 1e3,
            mean_first_token_ms=None if mean_first is None else mean_first * 1e3,
            queue_depth=queue_depth,
            in_flight=in_flight,
            requests_repeated=self.repeated,
            crashes=self.crashes,
            loads=self.loads,
            loads_refused=self.loads_refused,
            **{f"unloads_{reason}": count for reason, count in self.unloads.items()},
            **memory,
        )

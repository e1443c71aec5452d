"""The time on trial with real requests: what is remembered of it, and what it means. Pure."""

import msgspec

from skerry_agent.runtime.health import HealthCounts
from skerry_agent.updates.limits import UpdateLimits
from skerry_protocol.acceptance import SoakTerms
from skerry_protocol.reported import Reason

HOTTER_C = 5.0
"""A device that was as hot before does not speak against the version."""


class Soak(msgspec.Struct, frozen=True, kw_only=True):
    """A version's time on trial; stored with the slot, so that a restart goes on with the rest.

    Attributes:
        total_s: How long it takes.
        done_s: How much of it is over; time in which the agent did not run does not count.
        max_slowdown: Factor by which it may be slower than the version before.
        max_more_errors_percent: Percentage points by which more requests may fail.
        before: What was counted of the version before, until the switch.
        counts: What was counted of this version since.
        celsius_before: The device's temperature before the trial; None without a sensor.
        celsius_sum: Readings since, summed up; ``readings`` is their number.
    """

    total_s: float
    max_slowdown: float
    max_more_errors_percent: float
    done_s: float = 0.0
    before: HealthCounts = HealthCounts()
    counts: HealthCounts = HealthCounts()
    celsius_before: float | None = None
    celsius_sum: float = 0.0
    readings: int = 0

    def look(self, passed_s: float, counts: HealthCounts, celsius: float | None) -> "Soak":
        """The soak after some more time, with what was counted in it and the temperature now."""
        read = celsius is not None
        return msgspec.structs.replace(
            self,
            done_s=self.done_s + passed_s,
            counts=self.counts + counts,
            celsius_sum=self.celsius_sum + (celsius or 0.0),
            readings=self.readings + read,
        )

    @property
    def left_s(self) -> float:
        """How much is left, in seconds."""
        return max(0.0, self.total_s - self.done_s)

    @property
    def celsius(self) -> float | None:
        """Mean temperature so far."""
        return self.celsius_sum / self.readings if self.readings else None

    def figures(self) -> dict[str, float]:
        """What a report tells of it; what was not measured is absent."""
        figures: dict[str, float | None] = {
            "soak_s": self.done_s,
            "soak_total_s": self.total_s,
            "soak_requests": self.counts.ended,
            "soak_failed": self.counts.failed,
            "soak_crashes": self.counts.crashes,
            "soak_tokens_per_s": self.counts.tokens_per_s,
            "soak_first_token_ms": self.counts.first_token_ms,
            "soak_celsius": self.celsius,
            "before_requests": self.before.ended,
            "before_failed": self.before.failed,
            "before_tokens_per_s": self.before.tokens_per_s,
            "before_first_token_ms": self.before.first_token_ms,
            "before_celsius": self.celsius_before,
        }
        return {name: round(float(value), 2) for name, value in figures.items() if value is not None}


def begin_soak(
    terms: SoakTerms | None, limits: UpdateLimits, before: HealthCounts, celsius: float | None
) -> Soak:
    """A soak on a manifest's terms; what these leave open is the device's setting."""
    terms = terms or SoakTerms()
    return Soak(
        total_s=_first(terms.duration_s, limits.soak_s),
        max_slowdown=_first(terms.max_slowdown, limits.soak_max_slowdown),
        max_more_errors_percent=_first(terms.max_more_errors_percent, limits.soak_max_more_errors_percent),
        before=before,
        celsius_before=celsius,
    )


def judge_soak(soak: Soak, limits: UpdateLimits) -> Reason | None:
    """Why the version is worse than the one before; ``None`` while nothing speaks against it."""
    for judge in (_crashes, _errors, _slowness, _heat):
        reason = judge(soak, limits)
        if reason is not None:
            return reason
    return None


def _crashes(soak: Soak, limits: UpdateLimits) -> Reason | None:
    if soak.counts.crashes < limits.max_soak_crashes:
        return None
    return Reason(
        "soak_crashes", f"its runner crashed {soak.counts.crashes} times within {soak.done_s:.0f} s"
    )


def _errors(soak: Soak, limits: UpdateLimits) -> Reason | None:
    now, before = soak.counts, soak.before
    allowed = before.error_percent + soak.max_more_errors_percent
    if now.failed < limits.soak_min_failures or now.error_percent <= allowed:
        return None
    return Reason(
        "soak_errors",
        f"{now.failed} of {now.ended} requests failed ({now.error_percent:.0f} %);"
        f" {before.failed} of {before.ended} did before, and {allowed:.0f} % were allowed",
    )


def _slowness(soak: Soak, limits: UpdateLimits) -> Reason | None:
    now, before = soak.counts, soak.before
    if min(now.finished, before.finished) < limits.soak_min_requests:
        return None
    rate, rate_before = now.tokens_per_s, before.tokens_per_s
    if rate is not None and rate_before is not None and rate * soak.max_slowdown < rate_before:
        return Reason(
            "soak_slow",
            f"{rate:.1f} tokens/s over {now.finished} requests; {rate_before:.1f} before,"
            f" and {rate_before / soak.max_slowdown:.1f} were needed",
        )
    first, first_before = now.first_token_ms or 0.0, before.first_token_ms or 0.0
    ceiling = first_before * soak.max_slowdown + limits.soak_first_token_grace_ms
    if first <= ceiling:
        return None
    return Reason(
        "soak_slow",
        f"{first:.0f} ms to the first token over {now.finished} requests; {first_before:.0f} before,"
        f" and {ceiling:.0f} were allowed",
    )


def _heat(soak: Soak, limits: UpdateLimits) -> Reason | None:
    mean, before = soak.celsius, soak.celsius_before
    if mean is None or soak.readings < limits.soak_min_readings or mean < limits.soak_max_celsius:
        return None
    if before is not None and mean < before + HOTTER_C:
        return None
    was = "" if before is None else f", {before:.0f} before"
    return Reason("soak_hot", f"{mean:.0f} °C on average{was}; {limits.soak_max_celsius:g} are the limit")


def _first(stated: float | None, setting: float) -> float:
    return setting if stated is None else stated

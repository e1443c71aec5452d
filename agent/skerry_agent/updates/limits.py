"""Bounds of updates."""

from dataclasses import dataclass

MiB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UpdateLimits:
    """Times in seconds, sizes in bytes.

    Attributes:
        retry_initial_s: First pause after a failed attempt; it doubles, with full jitter.
        retry_max_s: Longest such pause.
        min_source_bytes_per_s: A source that brings less than this ...
        stall_s: ... over so long is left for the next one.
        max_chunk_bytes: A manifest with larger chunks is refused: a chunk is held in memory.
        max_wrong_rounds: After so many rounds over all sources that brought wrong bytes and no right one,
            the download is refused ...
        wrong_retry_initial_s: ... and tried again by itself after at least so long; the pause doubles, with
            full jitter on top.
        wrong_retry_max_s: Longest such jitter.
        trial_grace_s: Time for loading, on top of the acceptance checks' own deadline.
        max_trials: So many trials of one attempt may be cut off by the agent's end; then it goes back.
        max_starts: So many starts of the agent may find one short step (checking, verifying) unfinished.
        max_stores: So many state changes may one attempt take: whatever loop there is ends here.
        recheck_s: How often a refusal for want of room or memory looks whether that changed.
        progress_s: How often progress is stored and told at most.
        allowed_licenses: SPDX ids or patterns; none allows all. ``refused_licenses`` win.
        soak_s: How long a version takes requests on trial, unless its manifest says so; 0 for not at all.
        soak_max_slowdown: Factor by which it may be slower than the version before, likewise.
        soak_max_more_errors_percent: Percentage points by which more requests may fail, likewise.
        soak_max_celsius: A device that is as hot on average goes back, unless it was before.
        soak_look_s: How often the figures are looked at; ``soak_store_s`` how often the time is stored.
        soak_min_requests: Rates and times are compared from so many finished requests on, on both sides.
        soak_min_failures: So many failed requests are needed to speak against a version.
        soak_min_readings: So many readings of the temperature are needed.
        soak_first_token_grace_ms: Added to the time to the first token that is allowed: a few milliseconds
            more or less are no difference.
        max_soak_crashes: With so many crashes of its runner a version goes back.
        max_soak_starts: With so many ends of the agent that nobody asked for, likewise.
    """

    retry_initial_s: float = 2.0
    retry_max_s: float = 300.0
    min_source_bytes_per_s: int = 1024
    stall_s: float = 90.0
    max_chunk_bytes: int = 8 * MiB
    max_wrong_rounds: int = 3
    wrong_retry_initial_s: float = 900.0
    wrong_retry_max_s: float = 21_600.0
    trial_grace_s: float = 180.0
    max_trials: int = 3
    max_starts: int = 5
    max_stores: int = 60
    recheck_s: float = 60.0
    progress_s: float = 2.0
    allowed_licenses: tuple[str, ...] = ()
    refused_licenses: tuple[str, ...] = ()
    soak_s: float = 300.0
    soak_max_slowdown: float = 2.0
    soak_max_more_errors_percent: float = 5.0
    soak_max_celsius: float = 85.0
    soak_look_s: float = 5.0
    soak_store_s: float = 30.0
    soak_min_requests: int = 10
    soak_min_failures: int = 3
    soak_min_readings: int = 3
    soak_first_token_grace_ms: float = 50.0
    max_soak_crashes: int = 3
    max_soak_starts: int = 3

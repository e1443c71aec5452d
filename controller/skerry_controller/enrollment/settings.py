from dataclasses import dataclass

from skerry_protocol.limits import DEFAULT_LIMITS

HOUR_S = 3600
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class EnrollmentSettings:
    """Bounds of enrollment tokens.

    Attributes:
        default_life_s: Life of a token for which no other is asked, in seconds.
        max_life_s: Longest life of a token, in seconds.
        max_uses: Most devices that one token can enroll.
        max_labels: Most labels that a token gives.
        max_request_bytes: Largest accepted enrollment request.
    """

    default_life_s: int = 24 * HOUR_S
    max_life_s: int = 366 * DAY_S
    max_uses: int = 10_000
    max_labels: int = DEFAULT_LIMITS.max_labels
    max_request_bytes: int = 64 * 1024

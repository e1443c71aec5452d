from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceApiLimits:
    """Bounds of the devices' listener.

    Attributes:
        max_enroll_bytes: Largest body of an enrollment request.
        capability_life_s: How long an address of a blob can be used, in seconds.
        max_enrollments: Enrollment requests that are worked on at once; more are told to come again.
        body_timeout_s: Within this time the body of an enrollment request has to be here.
    """

    max_enroll_bytes: int = 64 * 1024
    capability_life_s: int = 3600
    max_enrollments: int = 8
    body_timeout_s: float = 20.0

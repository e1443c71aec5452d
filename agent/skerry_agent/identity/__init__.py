"""Who this device is: its key, its certificate, and how it got them."""

from skerry_agent.identity.device_identity import Enrollment, Identity
from skerry_agent.identity.enrollment import enroll
from skerry_agent.identity.errors import EnrollmentRefusedError
from skerry_agent.identity.fleet_link import FleetLink
from skerry_agent.identity.limits import EnrollmentLimits
from skerry_agent.identity.tls import check_peer_dates, client_context

__all__ = [
    "Enrollment",
    "EnrollmentLimits",
    "EnrollmentRefusedError",
    "FleetLink",
    "Identity",
    "check_peer_dates",
    "client_context",
    "enroll",
]

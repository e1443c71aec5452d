"""What the fleet's offline keys signed: TUF metadata, the trust document, and the time it is."""

from skerry_agent.trust.errors import (
    MetadataRefusedError,
    TargetNotYetVisibleError,
    TargetRefusedError,
    TrustStateLostError,
)
from skerry_agent.trust.fleet_targets import FleetTargets
from skerry_agent.trust.limits import TrustLimits
from skerry_agent.trust.sources import FilesSource, MetadataSource
from skerry_agent.trust.store import TrustStore
from skerry_agent.trusted_time import TimeLimits, TrustedTime

__all__ = [
    "FilesSource",
    "FleetTargets",
    "MetadataRefusedError",
    "MetadataSource",
    "TargetNotYetVisibleError",
    "TargetRefusedError",
    "TimeLimits",
    "TrustLimits",
    "TrustStateLostError",
    "TrustStore",
    "TrustedTime",
]

"""Updates: from a signed desired state to a version that proved itself on this device, or back."""

from skerry_agent.updates.device import LinuxDevice
from skerry_agent.updates.engine import UpdateEngine
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.ports import (
    ChunkSource,
    Clock,
    DeviceView,
    SourceError,
    SystemClock,
    TargetSource,
    TrialOutcome,
    Trier,
)

__all__ = [
    "ChunkSource",
    "Clock",
    "DeviceView",
    "LinuxDevice",
    "SourceError",
    "SystemClock",
    "TargetSource",
    "TrialOutcome",
    "Trier",
    "UpdateEngine",
    "UpdateLimits",
]

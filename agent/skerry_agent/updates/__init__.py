"""Updates: from a signed desired state to a version that proved itself on this device, or back."""

from skerry_agent.updates.device import LinuxDevice
from skerry_agent.updates.engine import UpdateEngine
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.network import Network
from skerry_agent.updates.ports import (
    ChunkSource,
    Clock,
    DeviceView,
    RangeSource,
    SourceError,
    SystemClock,
    TargetSource,
    TrialOutcome,
    Trier,
)
from skerry_agent.updates.schedule import Opening, Starts
from skerry_agent.updates.traffic import Traffic

__all__ = [
    "ChunkSource",
    "Clock",
    "DeviceView",
    "LinuxDevice",
    "Network",
    "Opening",
    "RangeSource",
    "SourceError",
    "Starts",
    "SystemClock",
    "TargetSource",
    "Traffic",
    "TrialOutcome",
    "Trier",
    "UpdateEngine",
    "UpdateLimits",
]

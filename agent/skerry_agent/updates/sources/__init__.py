"""Where chunks come from: files on this device, a bundle on a stick, HTTP, MQTT. None is trusted."""

from skerry_agent.updates.sources.bundle import BundleSource
from skerry_agent.updates.sources.http import CapabilityProvider, HttpSource
from skerry_agent.updates.sources.http_reader import HttpLimits, OpenSession
from skerry_agent.updates.sources.local import LocalSource
from skerry_agent.updates.sources.mqtt import MqttSource, Pace, RangeReader
from skerry_agent.updates.sources.patches import DeltaTargets, PatchSettings, PatchSource

__all__ = [
    "BundleSource",
    "CapabilityProvider",
    "DeltaTargets",
    "HttpLimits",
    "HttpSource",
    "LocalSource",
    "MqttSource",
    "OpenSession",
    "Pace",
    "PatchSettings",
    "PatchSource",
    "RangeReader",
]

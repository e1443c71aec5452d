"""Where chunks come from: files on this device, a bundle on a stick, HTTP, MQTT. None is trusted."""

from skerry_agent.updates.sources.bundle import BundleSource
from skerry_agent.updates.sources.http import CapabilityProvider, HttpSource
from skerry_agent.updates.sources.http_reader import HttpLimits, OpenSession
from skerry_agent.updates.sources.local import LocalSource
from skerry_agent.updates.sources.mqtt import MqttSource, Pace, RangeReader

__all__ = [
    "BundleSource",
    "CapabilityProvider",
    "HttpLimits",
    "HttpSource",
    "LocalSource",
    "MqttSource",
    "OpenSession",
    "Pace",
    "RangeReader",
]

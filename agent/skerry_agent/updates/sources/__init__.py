"""Where chunks come from: files on this device, HTTP, MQTT. None is trusted."""

from skerry_agent.updates.sources.http import CapabilityProvider, HttpLimits, HttpSource, OpenSession
from skerry_agent.updates.sources.local import LocalSource
from skerry_agent.updates.sources.mqtt import MqttSource, RangeReader

__all__ = [
    "CapabilityProvider",
    "HttpLimits",
    "HttpSource",
    "LocalSource",
    "MqttSource",
    "OpenSession",
    "RangeReader",
]

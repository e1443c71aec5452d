"""Bundles: the way of updates and telemetry when there is no network, on a stick.

The daemon never opens a path on the stick. The command that a person runs reads and writes there, with that
person's rights, and does what the daemon asks for step by step (:class:`Exchange`). Nothing that comes this
way is trusted: it goes through the same doors as what comes over MQTT.
"""

from skerry_agent.bundles.back import BackWriter
from skerry_agent.bundles.exchange import Answer, Exchange
from skerry_agent.bundles.importing import BundleImport, ImportParts
from skerry_agent.bundles.limits import ImportLimits
from skerry_agent.bundles.sessions import ImportSessions

__all__ = [
    "Answer",
    "BackWriter",
    "BundleImport",
    "Exchange",
    "ImportLimits",
    "ImportParts",
    "ImportSessions",
]

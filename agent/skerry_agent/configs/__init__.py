"""The fleet's config bundles: judged, tried, kept or taken back, and never about identity or trust."""

from skerry_agent.configs.bundles import Settings, Validate
from skerry_agent.configs.follower import ConfigFollower, ConfigLimits, ConfigTarget
from skerry_agent.configs.store import ConfigStoreError, settings_for_start

__all__ = [
    "ConfigFollower",
    "ConfigLimits",
    "ConfigStoreError",
    "ConfigTarget",
    "Settings",
    "Validate",
    "settings_for_start",
]

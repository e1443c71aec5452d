"""The agent's settings: read once, validated, frozen; each room is handed its own slice."""

from skerry_agent.settings.bundle_rules import check_bundle
from skerry_agent.settings.load import load_settings
from skerry_agent.settings.model import (
    BUNDLE_SECTIONS,
    AgentSettings,
    ApiSettings,
    DaemonSettings,
    LogSettings,
    OutboxSettings,
    RegistrySettings,
    RuntimeSettings,
    SyncSettings,
    TelemetrySettings,
    UpdateSettings,
)

__all__ = [
    "BUNDLE_SECTIONS",
    "AgentSettings",
    "ApiSettings",
    "DaemonSettings",
    "LogSettings",
    "OutboxSettings",
    "RegistrySettings",
    "RuntimeSettings",
    "SyncSettings",
    "TelemetrySettings",
    "UpdateSettings",
    "check_bundle",
    "load_settings",
]

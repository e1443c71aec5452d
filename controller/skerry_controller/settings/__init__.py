"""The controller's settings: read once, validated, frozen; each room is handed its own slice."""

from skerry_controller.settings.load import DEFAULT_FILE, load_settings, render_file, settings_file
from skerry_controller.settings.model import (
    BlobSection,
    BrokerSection,
    ControllerSettings,
    DeviceSection,
    EnrollmentSection,
    FleetSection,
    LogSection,
    OperatorSection,
    RepositorySection,
    ServerSection,
)

__all__ = [
    "DEFAULT_FILE",
    "BlobSection",
    "BrokerSection",
    "ControllerSettings",
    "DeviceSection",
    "EnrollmentSection",
    "FleetSection",
    "LogSection",
    "OperatorSection",
    "RepositorySection",
    "ServerSection",
    "load_settings",
    "render_file",
    "settings_file",
]

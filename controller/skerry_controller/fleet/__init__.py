"""The fleet: devices, channels, and the desired state of each device beside what it reports."""

from skerry_controller.fleet.channels import Channels, ChannelSummary
from skerry_controller.fleet.configs import ConfigAssignment, ConfigAssignments
from skerry_controller.fleet.device_keys import DeviceKeys
from skerry_controller.fleet.devices import Devices, DeviceView, SlotView
from skerry_controller.fleet.errors import (
    RevokedDeviceError,
    UnknownDeviceError,
    WrongDeviceError,
    refusal_code,
)
from skerry_controller.fleet.outlet import NoOutlet, Outlet
from skerry_controller.fleet.publisher import DesiredPublisher, TrustState
from skerry_controller.fleet.refusals import RefusalLimits, Refusals
from skerry_controller.fleet.reported import AcceptedReport, Reports
from skerry_controller.fleet.settings import FleetSettings

__all__ = [
    "AcceptedReport",
    "ChannelSummary",
    "Channels",
    "ConfigAssignment",
    "ConfigAssignments",
    "DesiredPublisher",
    "DeviceKeys",
    "DeviceView",
    "Devices",
    "FleetSettings",
    "NoOutlet",
    "Outlet",
    "RefusalLimits",
    "Refusals",
    "Reports",
    "RevokedDeviceError",
    "SlotView",
    "TrustState",
    "UnknownDeviceError",
    "WrongDeviceError",
    "refusal_code",
]

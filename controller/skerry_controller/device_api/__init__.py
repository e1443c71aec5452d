"""The devices' HTTPS listener: enrollment, and bytes of blobs for those with a capability."""

from skerry_controller.device_api.app import create_device_app
from skerry_controller.device_api.capabilities import Capabilities, CapabilityRefusedError
from skerry_controller.device_api.settings import DeviceApiLimits

__all__ = ["Capabilities", "CapabilityRefusedError", "DeviceApiLimits", "create_device_app"]

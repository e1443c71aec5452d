"""Each room's own part of the settings."""

from skerry_controller.blobs.settings import BlobSettings
from skerry_controller.broker import BrokerSettings
from skerry_controller.data_folder import DataFolder
from skerry_controller.device_api import DeviceApiLimits
from skerry_controller.enrollment import EnrollmentSettings
from skerry_controller.fleet import FleetSettings
from skerry_controller.mqtt import MqttSettings
from skerry_controller.operator_api.settings import OperatorApiLimits
from skerry_controller.repository import RepositorySettings
from skerry_controller.settings import ControllerSettings


def repository_settings(settings: ControllerSettings) -> RepositorySettings:
    """For the TUF repository."""
    section = settings.repository
    return RepositorySettings(
        snapshot_days=section.snapshot_days,
        timestamp_days=section.timestamp_days,
        max_carried_days=section.max_carried_days,
    )


def enrollment_settings(settings: ControllerSettings) -> EnrollmentSettings:
    """For enrollment tokens."""
    section = settings.enrollment
    return EnrollmentSettings(
        default_life_s=section.default_life_s, max_life_s=section.max_life_s, max_uses=section.max_uses
    )


def blob_settings(settings: ControllerSettings) -> BlobSettings:
    """For uploads."""
    return BlobSettings(max_blob_bytes=settings.blobs.max_blob_bytes)


def operator_api_limits(settings: ControllerSettings) -> OperatorApiLimits:
    """For the operators' application."""
    return OperatorApiLimits(max_body_bytes=settings.operator.max_body_bytes)


def device_api_limits(settings: ControllerSettings) -> DeviceApiLimits:
    """For the devices' application."""
    section = settings.device
    return DeviceApiLimits(
        max_enroll_bytes=section.max_enroll_bytes,
        capability_life_s=section.capability_life_s,
        max_enrollments=section.max_enrollments,
    )


def fleet_settings(settings: ControllerSettings) -> FleetSettings:
    """For desired states."""
    return FleetSettings(sweep_interval_s=settings.fleet.sweep_interval_s)


def mqtt_settings(settings: ControllerSettings, topic_root: str) -> MqttSettings:
    """For the controller's own session with the managed broker."""
    return MqttSettings(
        host=broker_host(settings),
        port=settings.broker.port,
        topic_root=topic_root,
        keepalive_s=settings.fleet.mqtt_keepalive_s,
    )


def broker_host(settings: ControllerSettings) -> str:
    """The address under which this machine reaches its own broker."""
    match settings.broker.bind_address:
        case None | "0.0.0.0":  # noqa: S104 - a comparison
            return "127.0.0.1"
        case "::":
            return "::1"
        case address:
            return address


def broker_settings(settings: ControllerSettings, data: DataFolder, topic_root: str) -> BrokerSettings:
    """For the managed broker. The topic root is the trust document's, which devices go by."""
    section = settings.broker
    return BrokerSettings(
        folder=data.broker,
        port=section.port,
        bind_address=section.bind_address,
        binary=section.binary,
        account=section.account,
        topic_root=topic_root,
        max_packet_size_bytes=section.max_packet_size_bytes,
        max_queued_bytes=section.max_queued_bytes,
        start_timeout_s=section.start_timeout_s,
        stop_timeout_s=section.stop_timeout_s,
    )

"""The controller's side of MQTT: the session, what comes in, what is answered, and the wiring of it."""

from skerry_controller.mqtt.commands import CommandService, NoReplyError
from skerry_controller.mqtt.fleet_side import FleetParts, FleetSide
from skerry_controller.mqtt.outbound import Outbound
from skerry_controller.mqtt.service import MqttService
from skerry_controller.mqtt.settings import MqttSettings

__all__ = [
    "CommandService",
    "FleetParts",
    "FleetSide",
    "MqttService",
    "MqttSettings",
    "NoReplyError",
    "Outbound",
]

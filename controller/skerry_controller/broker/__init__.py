"""The managed broker: a mosquitto child process with a configuration, a port and a folder of its own."""

from skerry_controller.broker.configuration import (
    BrokerMaterial,
    render_access_list,
    render_configuration,
    write_configuration,
)
from skerry_controller.broker.process import BrokerState, ManagedBroker
from skerry_controller.broker.settings import BrokerSettings

__all__ = [
    "BrokerMaterial",
    "BrokerSettings",
    "BrokerState",
    "ManagedBroker",
    "render_access_list",
    "render_configuration",
    "write_configuration",
]

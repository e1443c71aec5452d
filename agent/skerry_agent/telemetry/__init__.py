"""The device's health: samples of machine and runtime, and the inventory of what the machine is."""

from skerry_agent.telemetry.inventory import read_inventory
from skerry_agent.telemetry.machine import Machine
from skerry_agent.telemetry.runtime_figures import runtime_metrics
from skerry_agent.telemetry.sampler import Sampler, SamplerLimits

__all__ = ["Machine", "Sampler", "SamplerLimits", "read_inventory", "runtime_metrics"]

"""The local HTTP API for programs on this device."""

from skerry_agent.api.app import ApiOptions, create_api
from skerry_agent.api.ports import Models

__all__ = ["ApiOptions", "Models", "create_api"]

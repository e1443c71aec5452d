"""The local HTTP API for programs on this device: OpenAI's under ``/v1/``, Ollama's under ``/api/``."""

from skerry_agent.api.app import create_api
from skerry_agent.api.parts import ApiOptions, ApiParts
from skerry_agent.api.ports import FleetUpdates, Models, Runners, Tokens
from skerry_agent.api.presets import PresetStore

__all__ = [
    "ApiOptions",
    "ApiParts",
    "FleetUpdates",
    "Models",
    "PresetStore",
    "Runners",
    "Tokens",
    "create_api",
]

"""What the API is made with."""

from collections.abc import Callable
from dataclasses import dataclass

from skerry_agent.api.ports import FleetUpdates, Models, Runners, Tokens
from skerry_agent.api.presets import PresetStore
from skerry_agent.events import EventSink


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """The API's slice of the settings; times in seconds, sizes in bytes."""

    allowed_hosts: frozenset[str]
    max_body_bytes: int
    request_timeout_s: float
    require_token: bool = False


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API works with.

    Attributes:
        fleet: The fleet's side of the daemon, while there is one.
    """

    models: Models
    runners: Runners
    tokens: Tokens
    presets: PresetStore
    events: EventSink
    fleet: Callable[[], FleetUpdates | None] = lambda: None

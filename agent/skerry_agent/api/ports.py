"""What the API needs from the rest of the agent."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from skerry_agent.access import ApiToken
from skerry_agent.registry import InstalledArtifact, Pair, Slot
from skerry_agent.runtime import ModelFile, ModelStatus, Runner, RuntimeMetrics
from skerry_protocol.reported import SlotReport


class Models(Protocol):
    """The registry as the API sees it."""

    async def find(self, name: str) -> InstalledArtifact:
        """The artifact that a channel, name or ``name@version`` stands for.

        Raises:
            ModelNotFoundError: Nothing has that name.
        """

    async def find_pair(self, name: str) -> Pair:
        """The model, and the adapters on it, that answer under a name.

        Raises:
            ModelNotFoundError: Nothing has that name, or an adapter's base is not here.
        """

    async def artifacts(self) -> Sequence[InstalledArtifact]:
        """All installed artifacts."""

    async def slots(self) -> Sequence[Slot]:
        """All slots, with what is active in them."""

    async def deactivate(self, slot: str) -> None:
        """Let nothing serve in a slot any more."""

    async def remove(self, ref: str) -> None:
        """Remove an artifact that serves nowhere."""


class Runners(Protocol):
    """The runtime as the API sees it."""

    def lease(
        self, model: ModelFile, *, keep_alive_s: float | None = None, again: bool = False
    ) -> AbstractAsyncContextManager[Runner]:
        """Lend the runner of a model, loading it when it is not loaded; see ``ModelPool.lease``."""

    def unload(self, sha256: str) -> None:
        """Unload a model as soon as nobody uses it; a pinned one stays."""

    async def retire(self, sha256: str) -> None:
        """Unload a model when its requests have ended."""

    def status(self) -> list[ModelStatus]:
        """What is loaded."""

    def metrics(self) -> RuntimeMetrics:
        """Counters and figures."""


class Tokens(Protocol):
    """The local API tokens (``skerry_agent.access``)."""

    def check(self, secret: str) -> ApiToken | None:
        """The token with this secret, if there is one."""


class FleetUpdates(Protocol):
    """What the fleet wants of this device, and how far it is."""

    def reports(self) -> Mapping[str, SlotReport]:
        """Where each slot stands."""

    def nudge(self) -> None:
        """Do not wait out pauses: somebody asks for it now."""

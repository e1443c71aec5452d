"""What the API needs from the rest of the agent."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from skerry_agent.registry import InstalledArtifact, Slot
from skerry_agent.runtime import ModelFile, ModelStatus, Runner, RuntimeMetrics


class Models(Protocol):
    """The registry as the API sees it."""

    async def find(self, name: str) -> InstalledArtifact:
        """The artifact that a channel, name or ``name@version`` stands for.

        Raises:
            ModelNotFoundError: Nothing has that name.
        """

    async def artifacts(self) -> Sequence[InstalledArtifact]:
        """All installed artifacts."""

    async def slots(self) -> Sequence[Slot]:
        """All slots, with what is active in them."""


class Runners(Protocol):
    """The runtime as the API sees it."""

    def lease(self, model: ModelFile) -> AbstractAsyncContextManager[Runner]:
        """Lend the runner of a model, loading it when it is not loaded."""

    def status(self) -> list[ModelStatus]:
        """What is loaded."""

    def metrics(self) -> RuntimeMetrics:
        """Counters and figures."""

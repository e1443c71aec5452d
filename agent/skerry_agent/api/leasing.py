"""Borrows runners for requests, and lets a model go afterwards when a request said so."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

from skerry_agent.api.ports import Runners
from skerry_agent.runtime import (
    EmbedRequest,
    EmbedResult,
    GenerateEvent,
    GenerateRequest,
    ModelFile,
    Runner,
    second_try,
)


class Lender:
    """The runtime's leases, with what requests say about unloading."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners

    def lease(self, model: ModelFile, keep_alive_s: float | None) -> AbstractAsyncContextManager[Runner]:
        """Lend the runner of a model.

        Args:
            model: The model.
            keep_alive_s: How long it stays loaded afterwards, until a request says otherwise: 0 unloads it
                when its requests have ended, infinity keeps it; None leaves it as it is.
        """
        return self._runners.lease(model, keep_alive_s=keep_alive_s)

    def generate(self, runner: Runner, request: GenerateRequest) -> AsyncGenerator[GenerateEvent, None]:
        """Run a request on a leased runner; on the next one, should that end before it had begun it."""
        return second_try.generate(runner, request, lambda: self._again(runner))

    async def embed(self, runner: Runner, request: EmbedRequest) -> EmbedResult:
        """Vectors from a leased runner; as ``generate``."""
        return await second_try.embed(runner, request, lambda: self._again(runner))

    def _again(self, runner: Runner) -> AbstractAsyncContextManager[Runner]:
        return self._runners.lease(runner.model, again=True)

    def unload(self, model: ModelFile) -> None:
        """Unload a model when its requests have ended."""
        self._runners.unload(model.sha256)

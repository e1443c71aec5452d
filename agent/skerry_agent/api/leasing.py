"""Borrows runners for requests, and lets a model go afterwards when a request said so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry_agent.api.ports import Runners
from skerry_agent.runtime import ModelFile, Runner


class Lender:
    """The runtime's leases, with what requests say about unloading."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._unloading: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lease(self, model: ModelFile, keep_alive_s: float | None) -> AsyncIterator[Runner]:
        """Lend the runner of a model.

        Args:
            model: The model.
            keep_alive_s: 0 unloads the model when its requests have ended; None leaves it to the settings.
        """
        try:
            async with self._runners.lease(model) as runner:
                yield runner
        finally:
            if keep_alive_s == 0:
                self.unload(model)

    def unload(self, model: ModelFile) -> None:
        """Unload a model in the background, when its requests have ended."""
        task = asyncio.create_task(self._runners.retire(model.sha256), name=f"unload {model.label}")
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

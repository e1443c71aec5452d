"""Borrows runners for requests, and lets a model go afterwards when a request said so."""

from contextlib import AbstractAsyncContextManager

from skerry_agent.api.ports import Runners
from skerry_agent.runtime import ModelFile, Runner


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

    def unload(self, model: ModelFile) -> None:
        """Unload a model when its requests have ended."""
        self._runners.unload(model.sha256)

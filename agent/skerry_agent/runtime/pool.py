"""Which models are loaded: the runtime's door for the local API and for updates."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from skerry_agent.runtime.model import ModelFile, ModelStatus, RunnerOptions, RuntimeLimits, RuntimeMetrics
from skerry_agent.runtime.runner import Runner


class ModelPool:
    """Holds runners, keyed by the SHA-256 of their model file.

    Args:
        check_header: Our own look at the file before llama.cpp sees it; raises
            ``skerry_protocol.errors.ModelFileError`` for what must not be loaded. Runs in a thread.
        options: How runners run their models.
        limits: Bounds and deadlines.
    """

    def __init__(
        self,
        *,
        check_header: Callable[[Path], object],
        options: RunnerOptions | None = None,
        limits: RuntimeLimits | None = None,
    ) -> None:
        raise NotImplementedError

    def lease(self, model: ModelFile) -> AbstractAsyncContextManager[Runner]:
        """Lend the runner of a model, loading it when it is not; it is not unloaded while lent.

        Raises (on entering):
            ModelLoadError: The file was refused or did not load.
            ModelOutOfServiceError: It crashed too often lately.
            ModelUnavailableError: The pool is closing, or other models hold all places.
        """
        raise NotImplementedError

    async def trial(self, model: ModelFile) -> Runner:
        """Start a candidate runner beside the serving ones, always a new process.

        End it with ``promote`` or ``discard``.

        Raises:
            ModelLoadError: The file was refused or did not load.
        """
        raise NotImplementedError

    async def promote(self, candidate: Runner) -> None:
        """Make a candidate the serving runner of its digest, without loading again.

        An older runner of the same digest drains. Raises ``ModelUnavailableError`` when the candidate died.
        """
        raise NotImplementedError

    async def discard(self, candidate: Runner) -> None:
        """End a candidate that failed its trial."""
        raise NotImplementedError

    async def retire(self, sha256: str) -> None:
        """Drain and end the serving runner of a digest; its requests may finish within ``drain_timeout_s``.

        Returns when the process is gone. A lease that comes meanwhile starts a new runner.
        Nothing to retire is fine.
        """
        raise NotImplementedError

    def status(self) -> list[ModelStatus]:
        """What is loaded, loading, crashed or out of service, now."""
        raise NotImplementedError

    def metrics(self) -> RuntimeMetrics:
        """Counters and figures over all models."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """End all runners; leases from now on raise ``ModelUnavailableError``."""
        raise NotImplementedError

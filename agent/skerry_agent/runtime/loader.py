"""The way of a model into a process: our look at its header, the prediction of its need, the start."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from skerry_agent.runtime.errors import ModelLoadError
from skerry_agent.runtime.memory_need import predict_draft_need, predict_need, with_adapters
from skerry_agent.runtime.meter import Meter
from skerry_agent.runtime.model import ModelFile, RunnerOptions, RuntimeLimits
from skerry_agent.runtime.places import Loaded
from skerry_agent.runtime.runner import Runner
from skerry_protocol.errors import ModelFileError
from skerry_protocol.model_description import MemoryNeed

log = structlog.get_logger(__name__)

FindDraft = Callable[[ModelFile], Awaitable[ModelFile | None]]
"""Says which smaller model guesses tokens for a model; None for none."""


class StartRunner(Protocol):
    """Starts a runner; ``Runner.start`` is the real one."""

    async def __call__(
        self,
        model: ModelFile,
        *,
        options: RunnerOptions,
        limits: RuntimeLimits,
        meter: Meter,
        on_spawn: Callable[[int], None],
    ) -> Runner:
        """Start it, or raise ModelLoadError; tell ``on_spawn`` the process id before the model is loaded."""


class Loader:
    """Loads models for a pool.

    Args:
        check_header: See ``ModelPool``.
        options: How runners run their models.
        limits: Bounds and deadlines.
        meter: Where to count.
        clock: Monotonic time in seconds.
        start_runner: ``Runner.start`` by default.
        find_draft: Says which draft model a model has.
    """

    def __init__(
        self,
        check_header: Callable[[Path], object],
        *,
        options: RunnerOptions,
        limits: RuntimeLimits,
        meter: Meter,
        clock: Callable[[], float],
        start_runner: StartRunner | None,
        find_draft: FindDraft | None = None,
    ) -> None:
        self._check_header = check_header
        self._options = options
        self._limits = limits
        self._meter = meter
        self._clock = clock
        self._find_draft = find_draft
        self._drafts: dict[str, Path] = {}
        self._start_runner: StartRunner = start_runner or Runner.start

    async def look_at(self, model: ModelFile) -> MemoryNeed:
        """What the model will need.

        Raises:
            ModelLoadError: The file is refused, or cannot be read.
        """
        try:
            description = await asyncio.to_thread(self._check_header, model.path)
        except ModelFileError as error:
            raise ModelLoadError(f"{model.label} is refused: {error}") from error
        except OSError as error:
            raise ModelLoadError(f"{model.label} cannot be read: {error}") from error
        need = with_adapters(predict_need(description, model.path, self._options), model.adapters)
        return msgspec.structs.replace(need, draft_bytes=await self._look_at_draft(model))

    async def _look_at_draft(self, model: ModelFile) -> int:
        """Find the draft model and remember it for the start; what it will add, in bytes."""
        self._drafts.pop(model.sha256, None)
        draft = await self._find_draft(model) if self._find_draft and self._options.speculate else None
        if draft is None:
            return 0
        try:
            description = await asyncio.to_thread(self._check_header, draft.path)
        except (ModelFileError, OSError) as error:
            log.warning("draft_model_refused", model=model.label, draft=draft.label, reason=str(error))
            return 0
        self._drafts[model.sha256] = draft.path
        return predict_draft_need(description, draft.path, self._options)

    async def start(
        self, model: ModelFile, need: MemoryNeed, on_spawn: Callable[[int], None] = lambda _pid: None
    ) -> Loaded:
        """Start a runner in room that it has; ``on_spawn`` is told its process id at once.

        Raises:
            ModelLoadError: It did not load.
        """
        began = self._clock()
        options = replace(self._options, draft=self._drafts.get(model.sha256))
        runner = await self._start_runner(
            model, options=options, limits=self._limits, meter=self._meter, on_spawn=on_spawn
        )
        return Loaded(runner, need, load_s=self._clock() - began)

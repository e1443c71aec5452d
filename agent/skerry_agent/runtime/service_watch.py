"""Models that crash again and again are taken out of service, and tried again when their time is over."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from skerry_agent.runtime.model import ModelFile
from skerry_agent.runtime.places import Place

RuntimeEventName = Literal["runner_crashed", "model_out_of_service", "model_back_in_service"]


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """What happened to a model.

    Attributes:
        message: For people; no prompts, no answers.
    """

    name: RuntimeEventName
    model: ModelFile
    message: str


OnRuntimeEvent = Callable[[RuntimeEvent], None]


class ServiceWatch:
    """Keeps the crash histories of a pool's places.

    Args:
        clock: Monotonic time in seconds.
        on_event: Is told.
        try_again: Called with a place whose time out of service is over.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        on_event: OnRuntimeEvent | None,
        try_again: Callable[[Place], None],
    ) -> None:
        self._clock = clock
        self._on_event = on_event
        self._try_again = try_again

    def failed(self, place: Place, error: str) -> None:
        """Its runner did not start, or crashed."""
        now = self._clock()
        place.crashed = True
        place.history.record(now, error)
        wait_s = place.history.out_of_service_s(now)
        if wait_s <= 0:
            return
        if place.served:  # a file that never loaded is tried again when somebody asks for it
            loop = asyncio.get_running_loop()
            place.retry_with(loop.call_later(wait_s, self._try_again, place))
        if not place.out_of_service:
            place.out_of_service = True
            self._tell("model_out_of_service", place.model, f"tried again in {wait_s:.0f} s; {error}")

    def crashed(self, place: Place, model: ModelFile, error: str, *, serving: bool) -> None:
        """A runner ended by itself; ``serving`` unless another one has its place already."""
        self._tell("runner_crashed", model, error)
        if serving:
            self.failed(place, error)
        else:
            place.history.record(self._clock(), error)

    def served(self, place: Place) -> None:
        """A runner of it is ready."""
        place.served = True
        place.retry_with(None)
        if place.out_of_service:
            place.out_of_service = False
            self._tell("model_back_in_service", place.model, "its runner is ready")

    def _tell(self, name: RuntimeEventName, model: ModelFile, message: str) -> None:
        if self._on_event is not None:
            self._on_event(RuntimeEvent(name, model, message))

"""Lets requests out as flow control allows, first come first served."""

import asyncio
import time
from collections.abc import Callable

from skerry_agent.sync.limits import WindowLimits
from skerry_agent.sync.window import FlowWindow, SentFrame


class Passage:
    """One request under way. End it with exactly one of the methods; later calls do nothing."""

    def __init__(self, gate: "FlowGate", window: FlowWindow, frame: SentFrame) -> None:
        self._gate = gate
        self._window: FlowWindow | None = window
        self._frame = frame
        self.timeout_s = window.expected_s()

    @property
    def length(self) -> int:
        """How many bytes it may ask for."""
        return self._frame.length

    def received(self, length: int) -> None:
        """The answer came, with so many bytes."""
        if (window := self._leave()) is not None:
            window.received(self._frame, length, self._gate.monotonic())

    def lost(self) -> None:
        """No answer came in time."""
        if (window := self._leave()) is not None:
            window.lost(self._frame)

    def withdrawn(self) -> None:
        """The request ended for another reason."""
        if (window := self._leave()) is not None:
            window.withdrawn(self._frame)

    def _leave(self) -> FlowWindow | None:
        window, self._window = self._window, None
        self._gate.freed.set()
        return window


class FlowGate:
    """Where requests wait for their turn."""

    def __init__(
        self, max_frame_bytes: int, limits: WindowLimits, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.monotonic = monotonic
        self.freed = asyncio.Event()
        self._limits = limits
        self._turn = asyncio.Lock()
        self.window = FlowWindow(max_frame_bytes, limits)

    def reset(self, max_frame_bytes: int) -> None:
        """Forget what was measured: a new connection may run over another link."""
        self.window = FlowWindow(max_frame_bytes, self._limits)
        self.freed.set()

    async def enter(self, most: int) -> Passage:
        """Wait until a request for up to ``most`` bytes may go out, and count it.

        The wait is bounded by the time limits of the requests before this one.
        """
        async with self._turn:  # locks of asyncio are fair
            while not (window := self.window).may_send(length := min(most, window.frame_bytes)):
                self.freed.clear()
                await self.freed.wait()
            return Passage(self, window, window.sent(length, self.monotonic()))

"""How long work tells where it is, and how it is asked to stop."""

import threading
from typing import Protocol

from skerry_controller.errors import ControllerError


class StoppedError(ControllerError):
    """The work was stopped because somebody asked for it. Nothing of it is left."""

    code = "stopped"


class Progress(Protocol):
    """Told from any thread, often; whoever shows it decides how often to draw."""

    def __call__(self, what: str, done: float, total: float | None = None) -> None:
        """``what`` is being done; ``done`` of ``total`` (bytes, tensors, steps; None: not known)."""


class StopSign:
    """A request to stop that long work looks at between its pieces; may be raised from any thread."""

    def __init__(self) -> None:
        self._raised = threading.Event()

    def stop(self) -> None:
        """Ask to stop; asking again changes nothing."""
        self._raised.set()

    @property
    def asked(self) -> bool:
        """Whether somebody asked."""
        return self._raised.is_set()

    def check(self) -> None:
        """Return when nobody asked.

        Raises:
            StoppedError: Somebody did.
        """
        if self.asked:
            raise StoppedError("stopped as asked; nothing of it was kept")


def silent(what: str, done: float, total: float | None = None) -> None:
    """The progress that nobody watches."""
    del what, done, total

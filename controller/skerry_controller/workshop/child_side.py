"""The child's side of :mod:`skerry_controller.workshop.child`: what a module's ``main`` calls."""

import os
import sys
import time
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from skerry_controller.errors import ControllerError
from skerry_controller.workshop.child_lines import ErrorLine, ProgressLine, ResultLine
from skerry_protocol.errors import ProtocolError

J = TypeVar("J", bound=msgspec.Struct)

PROGRESS_EVERY_S: Final = 0.05
EXIT_REFUSED: Final = 3
_REFUSED = "refused"
_UNAVAILABLE = "unavailable"


class Parent:
    """Whom a child tells. One thread at a time may call."""

    def __init__(self, descriptor: int) -> None:
        self._out = os.fdopen(descriptor, "wb")
        self._what: str | None = None
        self._next_at = 0.0

    def progress(self, what: str, done: float, total: float | None = None) -> None:
        """A :class:`~skerry_controller.workshop.progress.Progress`; what comes too often is left out."""
        now = time.monotonic()
        if what == self._what and done != total and now < self._next_at:
            return
        self._what, self._next_at = what, now + PROGRESS_EVERY_S
        self._tell(ProgressLine(what, done, total))

    def result(self, result: msgspec.Struct) -> None:
        """Give a result; the last one is what the caller gets."""
        self._tell(ResultLine(msgspec.Raw(msgspec.json.encode(result))))

    def error(self, code: str, message: str) -> None:
        """Say why the work ends without one."""
        self._tell(ErrorLine(code, message))

    def _tell(self, line: msgspec.Struct) -> None:
        self._out.write(msgspec.json.encode(line) + b"\n")
        self._out.flush()


def serve(job: type[J], work: Callable[[J, Parent], msgspec.Struct | None]) -> None:
    """Do the work that stands on standard input, and exit.

    What ``work`` returns is its last result; an error for a person that it raises reaches the caller as the
    same error. Anything else ends the process with a traceback on standard error.
    """
    parent = Parent(os.dup(1))
    os.dup2(2, 1)  # what libraries print must not get between the lines
    try:
        result = work(msgspec.json.decode(sys.stdin.buffer.read(), type=job), parent)
    except ControllerError as error:
        parent.error(error.code, str(error))
    except ProtocolError as error:
        parent.error(_REFUSED, str(error))
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        parent.error(_UNAVAILABLE, f"{named}{error.strerror or error}")
    else:
        if result is not None:
            parent.result(result)
        return
    sys.exit(EXIT_REFUSED)

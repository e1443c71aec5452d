"""What a child process of the workshop tells: one JSON object a line, on its standard output."""

from typing import Final

import msgspec

from skerry_controller.errors import (
    ConflictError,
    ControllerError,
    NotFoundError,
    PeerError,
    UsageError,
    WorldError,
)
from skerry_controller.workshop.progress import StoppedError


class ProgressLine(msgspec.Struct, frozen=True, tag="progress", tag_field="t"):
    """How far it is."""

    what: str
    done: float
    total: float | None = None


class ResultLine(msgspec.Struct, frozen=True, tag="result", tag_field="t"):
    """A result; there may be several, of which the last one is that of the whole."""

    result: msgspec.Raw


class ErrorLine(msgspec.Struct, frozen=True, tag="error", tag_field="t"):
    """Why it gave up, in words for a person."""

    code: str
    message: str


Line = ProgressLine | ResultLine | ErrorLine

ERRORS: Final[dict[str, type[ControllerError]]] = {
    kind.code: kind
    for kind in (PeerError, WorldError, UsageError, NotFoundError, ConflictError, StoppedError)
}
"""The error for each code that a child may give."""

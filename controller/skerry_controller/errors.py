"""What can go wrong at the controller, apart from a caller's bug (``ValueError``, ``RuntimeError``).

Every message reaches a person sooner or later: it says what happened, to what, and what to do.
"""

from typing import ClassVar


class ControllerError(Exception):
    """Base of all errors that a person may see as one line. ``code`` is stable, for programs."""

    code: ClassVar[str] = "failed"


class PeerError(ControllerError):
    """A device or an uploaded file is wrong: refused, and recorded."""

    code = "refused"


class WorldError(ControllerError):
    """The world failed: disk, network, clock, a child process."""

    code = "unavailable"


class UsageError(ControllerError):
    """A person asked for something that cannot be done; the message says what can."""

    code = "usage"


class NotFoundError(UsageError):
    """What a person named does not exist; the message lists what does, or how to."""

    code = "not_found"


class ConflictError(UsageError):
    """It exists with other content, or something uses it."""

    code = "conflict"

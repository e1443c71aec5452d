"""What can go wrong at the controller, apart from a caller's bug (``ValueError``, ``RuntimeError``).

Every message reaches a person sooner or later: it says what happened, to what, and what to do.
"""


class ControllerError(Exception):
    """Base of all errors that a person may see as one line."""


class PeerError(ControllerError):
    """A device or an uploaded file is wrong: refused, and recorded."""


class WorldError(ControllerError):
    """The world failed: disk, network, clock, a child process."""


class UsageError(ControllerError):
    """A person asked for something that cannot be done; the message says what can."""

"""What can go wrong on a device, apart from a caller's bug (``ValueError``, ``RuntimeError``).

Every message reaches a person sooner or later: it says what happened, to what, and what to do.
"""


class AgentError(Exception):
    """Base of all errors that a person at the device may see as one line."""


class PeerError(AgentError):
    """The controller, the broker or a file from them is wrong: refused, and reported."""


class WorldError(AgentError):
    """The world failed: disk, network, clock, a child process."""


class UsageError(AgentError):
    """A person asked for something that cannot be done; the message says what can."""

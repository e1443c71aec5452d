"""What can go wrong between the device and its controller."""

from skerry_agent.errors import PeerError, WorldError


class NotConnectedError(WorldError):
    """There is no session with the broker now, or it ended meanwhile."""


class NoAnswerError(WorldError):
    """The controller did not answer in time, or said that it cannot now."""


class FrameTooLargeError(WorldError):
    """A message is larger than the broker takes; nothing was sent."""


class BlobNotFoundError(PeerError):
    """The controller does not have the blob."""


class BadAnswerError(PeerError):
    """The controller's answer does not fit the question."""


class InboxOverflowError(WorldError):
    """More messages came than are handled in time: the session starts again and asks again."""

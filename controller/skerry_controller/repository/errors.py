from skerry_controller.errors import PeerError


class RefusedPublicationError(PeerError):
    """Signed metadata or a target file that must not be published; nothing was changed."""


class StalePublicationError(RefusedPublicationError):
    """Somebody else published first: fetch the current metadata, add to it and sign again."""

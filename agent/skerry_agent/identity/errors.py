"""What can be wrong when a device enrolls."""

from skerry_agent.errors import PeerError


class EnrollmentRefusedError(PeerError):
    """The controller answered, and said no.

    Attributes:
        code: The controller's, such as ``token_expired``, ``token_used_up``, ``token_unknown`` or
            ``token_revoked``.
    """

    def __init__(self, code: str, message: str) -> None:
        """Build the error from the controller's own words."""
        super().__init__(message)
        self.code = code

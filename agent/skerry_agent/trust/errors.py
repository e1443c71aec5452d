"""What can be wrong with what the fleet signed, or seems to have signed."""

from skerry_agent.errors import PeerError, WorldError


class MetadataRefusedError(PeerError):
    """Repository metadata did not pass TUF's checks; what the device trusted before stays in force.

    Attributes:
        code: Stable, for programs: ``metadata_expired``, ``metadata_rollback``, ``metadata_unsigned``,
            ``metadata_mismatch``, ``metadata_malformed``, ``metadata_too_large``, ``metadata_missing``,
            ``metadata_refused``, ``trust_document_refused`` or ``trust_epoch_rollback``.
        role: The TUF role whose metadata it is, such as ``timestamp`` or ``models``.
    """

    def __init__(self, code: str, role: str, message: str) -> None:
        """Build the error; ``message`` is a whole line for a person."""
        super().__init__(message)
        self.code = code
        self.role = role


class TargetNotYetVisibleError(PeerError):
    """The wanted target is not in the metadata that this device has been able to verify so far.

    This means: try again later. The message says why.
    """


class TargetRefusedError(PeerError):
    """The wanted target is not what the fleet's keys signed. Trying again does not help.

    Attributes:
        code: Stable, for programs: ``target_unknown``, ``target_mismatch``, ``target_too_large`` or
            ``metadata_unsigned``.
        message: For a person.
    """

    def __init__(self, code: str, message: str) -> None:
        """Build the error."""
        super().__init__(message)
        self.code = code
        self.message = message


class TrustStateLostError(WorldError):
    """The stored metadata is gone or damaged, and what was kept from enrollment is as well."""

"""What can go wrong with a library."""

from skerry_controller.errors import PeerError, UsageError


class LibraryBusyError(UsageError):
    """Another process changes the library."""

    code = "library_busy"


class DigestMismatchError(PeerError):
    """The bytes that came are not those that somebody promised."""

    code = "digest_mismatch"

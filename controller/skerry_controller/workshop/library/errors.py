"""What can go wrong with a library."""

from skerry_controller.errors import UsageError


class LibraryBusyError(UsageError):
    """Another process changes the library."""

    code = "library_busy"

"""What can go wrong while a model is fetched."""

from skerry_controller.errors import UsageError, WorldError


class GatedError(UsageError):
    """The source wants something of the person first: a token, a licence accepted."""

    code = "gated"


class NoSpaceError(WorldError):
    """The disk has not enough room."""

    code = "no_space"

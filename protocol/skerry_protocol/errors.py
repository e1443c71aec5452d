"""What can be wrong with data that crossed the wire.

A caller's bug raises ``ValueError`` or ``TypeError``; everything here is a peer that is wrong.
"""


class ProtocolError(Exception):
    """A peer sent something that this protocol does not allow."""


class MalformedError(ProtocolError):
    """The bytes are not what they claim to be: wrong syntax, type, field or range."""


class TooLargeError(ProtocolError):
    """The bytes exceed the limit of their kind."""


class UnsupportedVersionError(ProtocolError):
    """The document has a version that this program does not know; a newer one is needed."""


class SignatureError(ProtocolError):
    """Too few valid signatures by trusted keys."""


class NameSyntaxError(ProtocolError, ValueError):
    """A name, version, channel, device or selector breaks the grammar."""


class ModelFileError(ProtocolError):
    """A model file is damaged, is of another kind, or would make llama.cpp abort."""

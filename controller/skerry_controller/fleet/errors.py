"""Why a device's message is refused, beyond what the protocol's own errors say."""

import msgspec

from skerry_controller.errors import ControllerError, PeerError
from skerry_protocol.errors import (
    NameSyntaxError,
    ProtocolError,
    SignatureError,
    TooLargeError,
    UnsupportedVersionError,
)


class UnknownDeviceError(PeerError):
    """No such device is enrolled here."""

    code = "unknown_device"


class RevokedDeviceError(PeerError):
    """The device was revoked."""

    code = "revoked_device"


class WrongDeviceError(PeerError):
    """A message names another device than the one whose topic it came by."""

    code = "wrong_device"


def refusal_code(error: ProtocolError | ControllerError) -> str:
    """A stable code for the audit log."""
    if isinstance(error, ControllerError):
        return error.code
    if isinstance(error, TooLargeError):
        return "too_large"
    if isinstance(error, UnsupportedVersionError):
        return "future_version"
    if isinstance(error, SignatureError):
        return "bad_signature"
    if isinstance(error, NameSyntaxError):
        return "malformed"
    return _malformed_code(error.__cause__)


def _malformed_code(cause: BaseException | None) -> str:
    if isinstance(cause, msgspec.ValidationError):
        return "unknown_field" if "unknown field" in str(cause) else "malformed"
    return "not_json" if isinstance(cause, msgspec.DecodeError | UnicodeDecodeError) else "malformed"

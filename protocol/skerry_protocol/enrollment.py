"""Enrollment: the one-time token, and what is said over HTTPS on ``/v1/enroll``.

The token is text that a person can paste: ``skerry1.`` and base64url of a JSON object with a checksum.
It carries the SHA-256 of the controller's server authority and of the initial TUF root, so neither a
stranger nor a stolen controller can take a new device.
"""

import base64
import binascii
import zlib

import msgspec

from skerry_protocol.codec import Document, decode, encode
from skerry_protocol.errors import MalformedError, UnsupportedVersionError
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.names import check_sha256
from skerry_protocol.reported import Inventory

PREFIX = "skerry1."
_FAMILY = "skerry"
MAX_TOKEN_CHARACTERS = 1024

AUTHORITY_PATH = "/v1/authority"
ENROLL_PATH = "/v1/enroll"


class EnrollmentToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says.

    Attributes:
        secret: Shown once; the controller stores only its hash.
        authority_sha256: Of the server authority's certificate (DER).
        root_sha256: Of the initial ``1.root.json``.
    """

    secret: str
    authority_sha256: str
    root_sha256: str

    def format(self) -> str:
        """The token's text."""
        body = msgspec.json.encode(self)
        checked = body + zlib.crc32(body).to_bytes(4, "big")
        return PREFIX + base64.urlsafe_b64encode(checked).decode("ascii").rstrip("=")


def parse_token(text: str) -> EnrollmentToken:
    """Parse a token's text.

    Raises:
        UnsupportedVersionError: It is of another version of tokens.
        MalformedError: It is no token, or was cut or mistyped.
    """
    text = text.strip()
    if not text.startswith(PREFIX):
        if text.startswith(_FAMILY) and "." in text:
            raise UnsupportedVersionError(
                "the enrollment token is of a version that this agent does not know"
            )
        raise MalformedError("that is not an enrollment token: one starts with 'skerry1.'")
    if len(text) > MAX_TOKEN_CHARACTERS:
        raise MalformedError("the enrollment token is too long; copy it again, whole and alone")
    encoded = text.removeprefix(PREFIX)
    try:
        checked = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        body, checksum = checked[:-4], checked[-4:]
        # Base64 leaves bits of the last character unused: one way of writing a token, not several.
        canonical = base64.urlsafe_b64encode(checked).decode("ascii").rstrip("=")
        if canonical != encoded or zlib.crc32(body).to_bytes(4, "big") != checksum:
            raise MalformedError("the enrollment token was cut or mistyped; copy it again")
        token = msgspec.json.decode(body, type=EnrollmentToken)
        check_sha256(token.authority_sha256)
        check_sha256(token.root_sha256)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise MalformedError("the enrollment token was cut or mistyped; copy it again") from error
    return token


class EnrollmentRequest(Document, frozen=True):
    """POSTed to ``/v1/enroll``."""

    token_secret: str
    csr_pem: str
    inventory: Inventory = Inventory()


class EnrollmentResponse(Document, frozen=True):
    """The answer: who the device is, and the repository's current metadata for its first refresh.

    Attributes:
        certificate_pem: The device's certificate.
        files: TUF files by the name that a client asks for: ``1.root.json`` and on, ``timestamp.json``,
            snapshot, targets, delegated roles, and the trust document under its consistent name.
    """

    device: str
    certificate_pem: str
    files: dict[str, bytes]


class ErrorResponse(Document, frozen=True):
    """The answer when something is wrong: a stable code and a message for people."""

    code: str
    message: str


def encode_enrollment_request(request: EnrollmentRequest) -> bytes:
    """The request as JSON."""
    return encode(request)


def decode_enrollment_request(data: bytes) -> EnrollmentRequest:
    """Decode a request.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    return decode(data, EnrollmentRequest, limit_bytes=DEFAULT_LIMITS.max_control_bytes)


def encode_enrollment_response(response: EnrollmentResponse) -> bytes:
    """The response as JSON."""
    return encode(response)


def decode_enrollment_response(data: bytes) -> EnrollmentResponse:
    """Decode a response.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    return decode(data, EnrollmentResponse, limit_bytes=4 * DEFAULT_LIMITS.max_metadata_bytes)

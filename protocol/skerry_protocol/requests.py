"""Requests of a device and the controller's response frames: TUF files, bytes of blobs, and more.

One request gets one response frame. To read something long, a device keeps a window of requests for
consecutive ranges under way; a lost frame is asked for again. Ranges and metadata are plain: what
comes back is checked by hash or by TUF. Capabilities and certificates come in an envelope of the
director's inside the frame; a renewal request comes in an envelope of the device's.
"""

from typing import Literal

import msgspec

from skerry_protocol.codec import Document, Part, check_size, decode, encode
from skerry_protocol.errors import MalformedError, NameSyntaxError, UnsupportedVersionError
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.names import check_device, check_sha256
from skerry_protocol.numbers import Whole

FRAME_OVERHEAD_BYTES = 512
"""Room to leave below the broker's packet limit for the topic, the properties and the frame's own fields."""
LARGEST_PACKET_BYTES = 2 * DEFAULT_LIMITS.max_frame_bytes
"""The largest MQTT packet that a controller lets pass: so much above the protocol's own that what is a little
too large is refused with a reason, and so low that nobody fills the broker's memory."""

ResponseStatus = Literal["ok", "not_found", "bad_request", "unavailable"]


class MetadataRequest(Part, frozen=True, kw_only=True, tag_field="op", tag="metadata"):
    """A range of one file of the TUF repository, by the name that a TUF client asks for.

    Attributes:
        packed: Asks for the range of the packed file (``skerry_protocol.packing``) instead.
        base: The name of another such file that the device holds, against which to pack; one that the
            controller does not have is ignored.
    """

    id: str
    name: str
    offset: Whole = 0
    length: Whole
    packed: bool = False
    base: str | None = None


class RangeRequest(Part, frozen=True, tag_field="op", tag="range"):
    """A range of the blob with this SHA-256."""

    id: str
    sha256: str
    offset: Whole
    length: Whole


class CapabilityRequest(Part, frozen=True, tag_field="op", tag="capability"):
    """Short-lived addresses from which the blob can be read by HTTP range requests."""

    id: str
    sha256: str


class RenewalRequest(Part, frozen=True, tag_field="op", tag="renewal"):
    """A new certificate for the device; counts only inside an envelope that its current key signed."""

    id: str
    csr_pem: str


AnyRequest = MetadataRequest | RangeRequest | CapabilityRequest | RenewalRequest


class Request(Document, frozen=True):
    """What goes out on ``up/request``."""

    device: str
    body: AnyRequest


class ResponseFrame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What comes back on ``down/response``: ``[v, id, status, total, offset, body]`` in MessagePack.

    ``total`` is the length in bytes of the whole file or blob; ``body`` starts at ``offset`` of it. With
    a status other than ``ok``, ``body`` is a message for people in UTF-8.
    """

    v: int
    id: str
    status: ResponseStatus
    total: Whole
    offset: Whole
    body: bytes


class Capability(Document, frozen=True):
    """The payload of a ``capability`` envelope.

    Attributes:
        urls: Addresses of the raw blob; each takes ``Range``. Tried in order; may be empty.
        authority_pem: The certificate authority of these servers; ``None`` means the system's.
    """

    device: str
    request: str
    issued_at: Whole
    expires_at: Whole
    sha256: str
    urls: tuple[str, ...]
    authority_pem: str | None = None


class Certificate(Document, frozen=True):
    """The payload of a ``certificate`` envelope: a renewed certificate (PEM)."""

    device: str
    request: str
    issued_at: Whole
    expires_at: Whole
    certificate_pem: str


def encode_request(request: Request) -> bytes:
    """The request as JSON."""
    return encode(request)


def decode_request(data: bytes) -> Request:
    """Decode and check a request.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    request = decode(data, Request, limit_bytes=DEFAULT_LIMITS.max_control_bytes)
    body = request.body
    try:
        check_device(request.device)
        if isinstance(body, RangeRequest | CapabilityRequest):
            check_sha256(body.sha256)
    except NameSyntaxError as error:
        raise MalformedError(f"request: {error}") from error
    if isinstance(body, RangeRequest | MetadataRequest) and (body.offset < 0 or body.length <= 0):
        raise MalformedError("request: a range starts at 0 or later and has at least one byte")
    if not 1 <= len(body.id) <= 64:  # noqa: PLR2004 - longest request id
        raise MalformedError("request: the id has 1 to 64 characters")
    return request


def encode_response(frame: ResponseFrame) -> bytes:
    """The frame as MessagePack."""
    return msgspec.msgpack.encode(frame)


def decode_response(data: bytes) -> ResponseFrame:
    """Decode a response frame.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    check_size(data, DEFAULT_LIMITS.max_frame_bytes, "response frame")
    try:
        frame = msgspec.msgpack.decode(data, type=ResponseFrame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"response frame: {error}") from error
    if frame.v != 1:
        raise UnsupportedVersionError(f"response frame has format version {frame.v}; this program knows 1")
    return frame


def encode_capability(capability: Capability) -> bytes:
    """The capability as the JSON payload of a ``capability`` envelope."""
    return encode(capability)


def decode_capability(payload: bytes) -> Capability:
    """Decode the payload of a ``capability`` envelope.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    return decode(payload, Capability, limit_bytes=DEFAULT_LIMITS.max_control_bytes)


def encode_certificate(certificate: Certificate) -> bytes:
    """The certificate as the JSON payload of a ``certificate`` envelope."""
    return encode(certificate)


def decode_certificate(payload: bytes) -> Certificate:
    """Decode the payload of a ``certificate`` envelope.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    return decode(payload, Certificate, limit_bytes=DEFAULT_LIMITS.max_control_bytes)

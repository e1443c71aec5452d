"""Telemetry samples, events and audit records: batches of numbered records, and acknowledgements.

(device, stream, sequence) names a record for ever: a stream id is random and new at each boot, and a
sequence number is used only after a synced commit. So a record that arrives twice is stored once.
"""

import zlib
from typing import Literal

import msgspec

from skerry_protocol import ranges
from skerry_protocol.codec import Document, check_size, decode, encode
from skerry_protocol.errors import MalformedError, NameSyntaxError, TooLargeError, UnsupportedVersionError
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.names import check_device
from skerry_protocol.numbers import Whole

RecordKind = Literal["sample", "event", "audit"]
Value = str | int | float | bool | None


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One record: ``[sequence, at_ms, kind, name, data]``.

    ``at_ms`` is the device's trusted time in Unix milliseconds. A sample's data are metric values; an
    event's and an audit record's are fields. ``name`` is ``"sample"`` for samples, else the event's name.
    """

    sequence: int
    at_ms: int
    kind: RecordKind
    name: str
    data: dict[str, Value]


class RecordBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records of one stream.

    ``gone`` are sequence ranges of the stream that the device no longer has: thinned when the outbox
    was full. The controller counts them as lost and acknowledges them.
    """

    v: int = 1
    device: str
    stream: str
    records: tuple[Record, ...]
    gone: tuple[tuple[int, int], ...] = ()


class Acknowledgement(Document, frozen=True):
    """Stream -> ranges of sequence numbers that the controller has stored and committed."""

    device: str
    id: str
    issued_at: Whole
    expires_at: Whole
    streams: dict[str, list[tuple[int, int]]]


def encode_batch(batch: RecordBatch) -> bytes:
    """The batch as the compact payload (zlib over MessagePack) of a binary ``records`` envelope."""
    return zlib.compress(msgspec.msgpack.encode(batch), 6)


def decode_batch(payload: bytes) -> RecordBatch:
    """Decode and check the payload of a ``records`` envelope.

    Raises:
        ProtocolError: It is malformed, expands over the limit, or is of a later version.
    """
    raw = _inflate(payload, DEFAULT_LIMITS.max_batch_bytes)
    try:
        version = msgspec.msgpack.decode(raw, type=dict[str, msgspec.Raw]).get("v")
        if version is None or msgspec.msgpack.decode(version, type=int) != 1:
            raise UnsupportedVersionError("record batch has a format version other than 1")
        batch = msgspec.msgpack.decode(raw, type=RecordBatch)
        check_device(batch.device)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, NameSyntaxError) as error:
        raise MalformedError(f"record batch: {error}") from error
    if len(batch.records) > DEFAULT_LIMITS.max_records or not 1 <= len(batch.stream) <= 64:  # noqa: PLR2004 - longest stream id
        raise MalformedError("record batch: too many records, or an overlong stream id")
    ranges.check(batch.gone)
    if any(record.sequence < 0 for record in batch.records):
        raise MalformedError("record batch: a negative sequence number")
    return batch


def encode_acknowledgement(acknowledgement: Acknowledgement) -> bytes:
    """The acknowledgement as the JSON payload of an ``ack`` envelope."""
    return encode(acknowledgement)


def decode_acknowledgement(payload: bytes) -> Acknowledgement:
    """Decode and check the payload of an ``ack`` envelope.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    acknowledgement = decode(payload, Acknowledgement, limit_bytes=DEFAULT_LIMITS.max_control_bytes)
    for acknowledged in acknowledgement.streams.values():
        ranges.check(acknowledged)
    return acknowledgement


def _inflate(payload: bytes, limit_bytes: int) -> bytes:
    check_size(payload, limit_bytes, "record batch")
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(payload, limit_bytes + 1)
    except zlib.error as error:
        raise MalformedError(f"record batch: {error}") from error
    if len(raw) > limit_bytes:
        raise TooLargeError(f"record batch expands beyond the limit of {limit_bytes} bytes")
    if not inflater.eof or inflater.unused_data:
        raise MalformedError("record batch: compressed data is cut off, or something follows it")
    return raw

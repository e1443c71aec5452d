"""Signed messages: a payload, its kind, and signatures over DSSE's pre-authentication encoding.

The signature covers the payload's exact bytes and its kind, so nothing is re-serialised to verify
and a signature for one kind never passes for another. Two encodings of the same thing:

* JSON, for what a person should be able to read with ``mosquitto_sub``: the payload stands in the
  envelope as it is (kept byte for byte with ``msgspec.Raw``);
* MessagePack, for compact payloads (telemetry): the payload is a byte string.

Source: DSSE protocol, https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

from typing import Literal, NamedTuple

import msgspec

from skerry_protocol.codec import check_size
from skerry_protocol.errors import MalformedError, SignatureError, UnsupportedVersionError
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.signing import KeySet, Signer

Kind = Literal[
    "desired", "ack", "command", "capability", "certificate", "reported", "records", "reply", "request"
]
MAX_SIGNATURES = 16


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature and the id of the key that made it."""

    key: str
    sig: bytes


class _JsonEnvelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    kind: str
    payload: msgspec.Raw
    signatures: list[Signature]


class _BinaryEnvelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    kind: str
    payload: bytes
    signatures: list[Signature]


class Envelope(NamedTuple):
    """A received message whose signatures were not looked at yet."""

    kind: str
    payload: bytes
    media_type: str
    signatures: tuple[Signature, ...]


def pre_authentication_encoding(media_type: str, payload: bytes) -> bytes:
    """DSSE's PAE: what is really signed."""
    kind = media_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def media_type(kind: str, *, binary: bool) -> str:
    """The payload type that the signature binds, such as ``application/vnd.skerry.desired.v1+json``."""
    return f"application/vnd.skerry.{kind}.v1+{'msgpack-zlib' if binary else 'json'}"


def seal(kind: Kind, payload: bytes, signers: list[Signer], *, binary: bool = False) -> bytes:
    """Sign ``payload`` and put it into an envelope.

    Args:
        kind: What the payload is.
        payload: Its exact bytes; JSON unless ``binary``.
        signers: Who signs, at least one.
        binary: MessagePack envelope instead of JSON.
    """
    message = pre_authentication_encoding(media_type(kind, binary=binary), payload)
    signatures = [Signature(signer.key_id, signer.sign(message)) for signer in signers]
    if binary:
        return msgspec.msgpack.encode(_BinaryEnvelope(1, kind, payload, signatures))
    return msgspec.json.encode(_JsonEnvelope(1, kind, msgspec.Raw(payload), signatures))


def parse(data: bytes, *, limit_bytes: int = DEFAULT_LIMITS.max_frame_bytes) -> Envelope:
    """Take an envelope apart without believing it.

    Raises:
        TooLargeError: ``data`` is longer than ``limit_bytes``.
        UnsupportedVersionError: The envelope has a version that this program does not know.
        MalformedError: It is no envelope.
    """
    check_size(data, limit_bytes, "envelope")
    binary = data.lstrip()[:1] != b"{"
    if binary and not _is_msgpack_map(data):
        raise MalformedError("envelope: that is neither a JSON object nor a MessagePack map")
    try:
        if binary:
            raw: _BinaryEnvelope | _JsonEnvelope = msgspec.msgpack.decode(data, type=_BinaryEnvelope)
        else:
            raw = msgspec.json.decode(data, type=_JsonEnvelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise MalformedError(f"envelope: {error}") from error
    if raw.v != 1:
        raise UnsupportedVersionError(f"envelope has format version {raw.v}; this program knows 1")
    if not 1 <= len(raw.signatures) <= MAX_SIGNATURES:
        raise MalformedError(
            f"envelope has {len(raw.signatures)} signatures; 1 to {MAX_SIGNATURES} are allowed"
        )
    return Envelope(raw.kind, bytes(raw.payload), media_type(raw.kind, binary=binary), tuple(raw.signatures))


def _is_msgpack_map(data: bytes) -> bool:
    first = data[0] if data else 0
    return 0x80 <= first <= 0x8F or first in (0xDE, 0xDF)  # noqa: PLR2004 - fixmap, map 16, map 32


def open_sealed(
    data: bytes, kind: Kind, keys: KeySet, *, limit_bytes: int = DEFAULT_LIMITS.max_frame_bytes
) -> bytes:
    """The payload of an envelope of ``kind`` that enough of ``keys`` signed.

    Raises:
        TooLargeError, UnsupportedVersionError, MalformedError: As :func:`parse`.
        SignatureError: Another kind, or fewer valid signatures by distinct keys than the threshold.
    """
    envelope = parse(data, limit_bytes=limit_bytes)
    if envelope.kind != kind:
        raise SignatureError(f"expected an envelope of kind {kind!r}, got {envelope.kind[:32]!r}")
    message = pre_authentication_encoding(envelope.media_type, envelope.payload)
    valid = keys.valid_signers(((s.key, s.sig) for s in envelope.signatures), message)
    if len(valid) < keys.threshold:
        raise SignatureError(
            f"{kind} envelope: {len(valid)} valid signatures by trusted keys, {keys.threshold} needed"
        )
    return envelope.payload

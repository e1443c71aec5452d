"""Strict decoding with limits: bytes in, a checked document or an error out."""

from typing import TypeVar

import msgspec

from skerry_protocol.errors import MalformedError, TooLargeError, UnsupportedVersionError

T = TypeVar("T", bound="Document")


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all versioned documents. ``v`` is the version of the document's format.

    Unknown fields are refused: within one version the fields are fixed, and a program that meets a
    later version says so instead of following half of it.
    """

    v: int = 1


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what stands inside a document and shares its version."""


class _Version(msgspec.Struct):
    v: int


def encode(document: msgspec.Struct) -> bytes:
    """The document as JSON, with the fields in the order of their definition."""
    return msgspec.json.encode(document)


def decode(data: bytes, kind: type[T], *, limit_bytes: int, versions: tuple[int, ...] = (1,)) -> T:
    """Decode a JSON document.

    Args:
        data: The received bytes.
        kind: The document's type.
        limit_bytes: Largest accepted length of ``data``.
        versions: Format versions that this program knows.

    Raises:
        TooLargeError: ``data`` is longer than ``limit_bytes``.
        UnsupportedVersionError: The document's ``v`` is not in ``versions``.
        MalformedError: It is not JSON, or breaks the type.
    """
    label = kind.__name__
    check_size(data, limit_bytes, label)
    try:
        version = msgspec.json.decode(data, type=_Version).v
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"{label}: {error}") from error
    if version not in versions:
        raise UnsupportedVersionError(
            f"{label} has format version {version}; this program knows {', '.join(map(str, versions))}"
        )
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise MalformedError(f"{label}: {error}") from error


def check_size(data: bytes, limit_bytes: int, label: str) -> None:
    """Refuse what is over its limit.

    Raises:
        TooLargeError: ``data`` is longer than ``limit_bytes``.
    """
    if len(data) > limit_bytes:
        raise TooLargeError(f"{label} of {len(data)} bytes exceeds the limit of {limit_bytes}")

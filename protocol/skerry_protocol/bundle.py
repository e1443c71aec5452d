"""A bundle: a folder on a stick, with what a controller has for devices without a network, and their answers.

::

    bundle.json             what it is, for people and for a first look
    chunks.json             which chunk lies where
    chunks-0001.bin ...     bytes of chunks, one after the other; each file is below 4 GiB, for FAT32
    metadata/<name>         TUF metadata, under the names that a client asks for
    targets/<sha256>        manifests, config bundles, the trust document
    desired/<device>.json   the envelope with the device's desired state
    acks/<device>.bin       frames: envelopes that acknowledge records
    SHA256SUMS              for ``sha256sum -c`` after copying
    back/<device>/          written by the device: ``reported.json`` (an envelope), ``records.bin`` (frames)

All names are lower-case ASCII but one, and short: they stand on any file system. Nothing in a bundle is
trusted for being there: metadata, targets and envelopes are signed, chunks are hashed in signed manifests,
and the two documents of this module only say where to look.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from skerry_protocol.codec import Document, decode, encode
from skerry_protocol.errors import MalformedError, NameSyntaxError, TooLargeError
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.names import check_device, check_sha256
from skerry_protocol.numbers import Whole

HEAD = "bundle.json"
INDEX = "chunks.json"
SUMS = "SHA256SUMS"
BACK = "back"
REPORTED = "reported.json"
RECORDS = "records.bin"

_SHA256_CHARACTERS = 64
_METADATA_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}\.json")
_PART = r"[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?"
_NAME = re.compile(rf"{SUMS}|(?:{_PART}/){{0,2}}{_PART}")
_FRAME_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class BundleLimits:
    """Upper bounds in bytes, enforced before anything is parsed.

    Attributes:
        max_head_bytes: ``bundle.json``.
        max_index_bytes: ``chunks.json``: room for about 80,000 chunks.
        max_pack_bytes: One file of chunks as a controller writes it. FAT32 ends at 4 GiB - 1.
        max_frame_bytes: One frame of acknowledgements or records.
    """

    max_head_bytes: int = 1024 * 1024
    max_index_bytes: int = 8 * 1024 * 1024
    max_pack_bytes: int = 1024 * 1024 * 1024
    max_frame_bytes: int = DEFAULT_LIMITS.max_frame_bytes


BUNDLE_LIMITS = BundleLimits()


class BundleHead(Document, frozen=True, kw_only=True):
    """``bundle.json``. Not signed: a hint, never a reason to believe something.

    Attributes:
        kind: Tells a bundle from other folders.
        fleet: The fleet's id.
        created_at: Unix seconds.
        expires_at: Unix seconds; until then its metadata and desired states count.
        artifacts: ``NAME@VERSION`` of what it carries.
        base: ``NAME@VERSION`` of what a device must have already.
        devices: Those that it has desired states for.
        chunk_bytes: Bytes of all chunks in it.
    """

    kind: Literal["skerry-bundle"] = "skerry-bundle"
    fleet: str
    created_at: Whole
    expires_at: Whole
    artifacts: tuple[str, ...]
    base: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    chunk_bytes: Whole = 0


class PackedChunk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``[sha256, pack, offset, length]``: where a chunk's bytes lie; packs count from 1."""

    sha256: str
    pack: Whole
    offset: Whole
    length: Whole


class ChunkIndex(Document, frozen=True):
    """``chunks.json``.

    Attributes:
        packs: Length in bytes of ``chunks-0001.bin``, ``chunks-0002.bin`` and so on.
        chunks: Every chunk in them.
    """

    packs: tuple[Whole, ...]
    chunks: tuple[PackedChunk, ...]


def encode_head(head: BundleHead) -> bytes:
    """The head as JSON that a person can read."""
    return msgspec.json.format(encode(head), indent=2) + b"\n"


def decode_head(data: bytes) -> BundleHead:
    """Decode ``bundle.json``.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    return decode(data, BundleHead, limit_bytes=BUNDLE_LIMITS.max_head_bytes)


def encode_index(index: ChunkIndex) -> bytes:
    """The index as JSON.

    Raises:
        TooLargeError: It names more chunks than a device would read.
    """
    data = encode(index)
    if len(data) > BUNDLE_LIMITS.max_index_bytes:
        raise TooLargeError(
            f"an index of {len(index.chunks)} chunks has {len(data)} bytes; {BUNDLE_LIMITS.max_index_bytes}"
            " are allowed: export fewer artifacts at once"
        )
    return data


def decode_index(data: bytes) -> ChunkIndex:
    """Decode and check ``chunks.json``.

    Raises:
        ProtocolError: It is malformed, too large, of a later version, or names places outside of its packs.
    """
    index = decode(data, ChunkIndex, limit_bytes=BUNDLE_LIMITS.max_index_bytes)
    if not all(index.packs):
        raise MalformedError("bundle: a pack is empty")
    try:
        for chunk in index.chunks:
            check_sha256(chunk.sha256)
            if not 1 <= chunk.pack <= len(index.packs) or chunk.length < 1:
                raise MalformedError(f"bundle: chunk {chunk.sha256} lies in no pack")
            if chunk.offset + chunk.length > index.packs[chunk.pack - 1]:
                raise MalformedError(f"bundle: chunk {chunk.sha256} lies beyond the end of its pack")
    except NameSyntaxError as error:
        raise MalformedError(f"bundle: {error}") from error
    return index


def pack_name(number: int) -> str:
    """File name of the pack with this number, from 1."""
    return f"chunks-{number:04}.bin"


def desired_name(device: str) -> str:
    """File name of a device's desired state."""
    return f"desired/{check_device(device)}.json"


def acks_name(device: str) -> str:
    """File name of a device's acknowledgements."""
    return f"acks/{check_device(device)}.bin"


def back_name(device: str, name: str) -> str:
    """Name of a file that a device writes back."""
    return f"{BACK}/{check_device(device)}/{name}"


def repository_file(name: str) -> str | None:
    """Where a file of the TUF repository stands in a bundle; None for a name that cannot be in one.

    Args:
        name: As TUF clients ask for it: ``3.models.json``, ``models/NAME/<sha256>.VERSION.json``.
    """
    folder, slash, base = name.rpartition("/")
    if not slash:
        return f"metadata/{base}" if _METADATA_NAME.fullmatch(base) else None
    try:
        sha256 = check_sha256(base[:_SHA256_CHARACTERS])
    except NameSyntaxError:
        return None
    return f"targets/{sha256}" if folder and base[_SHA256_CHARACTERS:].startswith(".") else None


def check_file_name(name: str) -> str:
    """Return ``name`` when a file of a bundle can have it: it leads nowhere else on any file system.

    Raises:
        NameSyntaxError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise NameSyntaxError(f"{name[:200]!r} is not the name of a file in a bundle")
    return name


def frame(data: bytes) -> bytes:
    """One envelope as it stands in a file of frames: its length in 4 bytes, big end first, then its bytes."""
    return len(data).to_bytes(_FRAME_LENGTH_BYTES, "big") + data


def read_frames(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The envelopes in a file of frames, in order.

    Args:
        read: Gives the next bytes of the file, at most so many; fewer only at its end.

    Raises:
        MalformedError: The file ends within a frame; those before it were yielded.
        TooLargeError: A frame is above the limit.
    """
    while prefix := read(_FRAME_LENGTH_BYTES):
        length = int.from_bytes(prefix, "big")
        if len(prefix) < _FRAME_LENGTH_BYTES:
            raise MalformedError("the file ends within the length of a frame")
        if length > BUNDLE_LIMITS.max_frame_bytes:
            raise TooLargeError(f"a frame of {length} bytes; {BUNDLE_LIMITS.max_frame_bytes} are allowed")
        data = read(length)
        if len(data) < length:
            raise MalformedError(f"the file ends {length - len(data)} bytes before the end of a frame")
        yield data

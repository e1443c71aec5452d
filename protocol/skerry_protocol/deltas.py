"""Delta indexes: smaller ways to get chunks of a published file (further TUF targets).

Manifests are immutable, so what makes a version cheaper to fetch is signed beside them and may come later. An
index belongs to one file and names at most one base: another whole file that the device has to hold. For each
chunk that it lists it says where in one *pack* (a blob, served like model files) the bytes lie from which the
chunk is made, and how. What comes out is a chunk only if it has the hash that the manifest gives.
"""

import zlib
from typing import Literal, NamedTuple

import msgspec

from skerry_protocol.codec import Document, decode, encode
from skerry_protocol.errors import MalformedError, NameSyntaxError
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.manifest import MAX_FILE_BYTES
from skerry_protocol.names import TARGET_FOLDERS, check_name, check_sha256
from skerry_protocol.numbers import Whole
from skerry_protocol.tensor_patch import PatchLimits, decode_patch
from skerry_protocol.tensor_patch.streams import unzstd

MAX_DELTA_CHUNK_BYTES = PatchLimits().max_length
"""Larger chunks are fetched whole: making one takes some 20 times its length in memory."""
_PREFIX = "_delta."
_SUFFIX = ".json"
_NO_BASE = "whole"
_PARTS = 3

Coding = Literal["zstd", "against", "patch"]
"""``zstd``: the chunk compressed. ``against``: compressed with the base's bytes as the dictionary. ``patch``:
a tensor patch against the base's bytes, of which there are as many as the chunk has."""


class DeltaPiece(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How to make one chunk: ``[offset, length, coding, base offset, base length, pack offset, …]``.

    Attributes:
        chunk_offset: The chunk's place in its file.
        chunk_length: Bytes of the chunk.
        coding: What to do with the piece.
        base_offset: Which bytes of the base it is made with; 0 bytes at 0 for ``zstd``.
        base_length: How many.
        offset: The piece's place in the pack.
        length: Bytes of the piece; fewer than the chunk has.
        check: CRC-32 of the piece. Only tells a source that brought other bytes from a base that decayed.
    """

    chunk_offset: Whole
    chunk_length: Whole
    coding: Coding
    base_offset: Whole
    base_length: Whole
    offset: Whole
    length: Whole
    check: Whole

    def is_right(self, data: bytes) -> bool:
        """Whether these are the piece's bytes, as far as the check tells."""
        return len(data) == self.length and zlib.crc32(data) == self.check


class DeltaIndex(Document, frozen=True):
    """What the target says.

    Attributes:
        name: Of the artifact whose file it is.
        file_sha256: The file.
        file_length: Its bytes.
        base_sha256: The whole file that is needed; None when none is.
        base_length: Its bytes; 0 for none.
        pack_sha256: The blob with the pieces.
        pack_length: Its bytes.
        pieces: In the order of the file, and of the pack.
    """

    name: str
    file_sha256: str
    file_length: int
    base_sha256: str | None
    base_length: int
    pack_sha256: str
    pack_length: int
    pieces: tuple[DeltaPiece, ...]


class DeltaName(NamedTuple):
    """What the path of an index says: whose file it makes cheaper, and with which base."""

    name: str
    file_sha256: str
    base_sha256: str | None


def delta_path(name: str, file_sha256: str, base_sha256: str | None) -> str:
    """The target path of an index: ``models/NAME/_delta.FILE.BASE.json``.

    No artifact's path is like it, since no version begins with ``_``; the role ``models`` may name it, and
    file and base stand in it, so that a device sees in its verified metadata which indexes are for it.
    """
    base = _NO_BASE if base_sha256 is None else check_sha256(base_sha256)
    folder = TARGET_FOLDERS["model"]
    return f"{folder}/{check_name(name)}/{_PREFIX}{check_sha256(file_sha256)}.{base}{_SUFFIX}"


def parse_delta_path(path: str) -> DeltaName | None:
    """What a target path says, or None when it is not that of an index."""
    parts = path.split("/")
    if len(parts) != _PARTS or parts[0] != TARGET_FOLDERS["model"]:
        return None
    file, _, base = parts[2].removeprefix(_PREFIX).removesuffix(_SUFFIX).partition(".")
    try:
        found = DeltaName(check_name(parts[1]), file, None if base == _NO_BASE else base)
        return found if delta_path(*found) == path else None
    except NameSyntaxError:
        return None


def encode_delta_index(index: DeltaIndex) -> bytes:
    """The index as the JSON that becomes the target."""
    return encode(index)


def decode_delta_index(data: bytes, path: str) -> DeltaIndex:
    """Decode and check an index.

    Args:
        data: The target's bytes.
        path: Under which it was signed.

    Raises:
        ProtocolError: It is malformed, too large, of a later version, inconsistent, or belongs elsewhere.
    """
    index = decode(data, DeltaIndex, limit_bytes=DEFAULT_LIMITS.max_manifest_bytes)
    try:
        if delta_path(index.name, index.file_sha256, index.base_sha256) != path:
            raise MalformedError(f"delta index: what is signed as {path[:300]} belongs elsewhere")
        check_sha256(index.pack_sha256)
    except NameSyntaxError as error:
        raise MalformedError(f"delta index: {error}") from error
    lengths = (index.file_length, index.pack_length, index.base_length)
    if not all(0 <= length <= MAX_FILE_BYTES for length in lengths) or not index.pieces:
        raise MalformedError("delta index: no pieces, or lengths that no file has")
    if (index.base_sha256 is None) != (index.base_length == 0):
        raise MalformedError("delta index: a base without length, or a length without base")
    _check_pieces(index)
    return index


def _check_pieces(index: DeltaIndex) -> None:
    chunk_end = pack_end = 0
    for piece in index.pieces:
        if piece.chunk_offset < chunk_end or piece.offset < pack_end:
            raise MalformedError("delta index: pieces overlap or are out of order")
        if not 0 < piece.length < piece.chunk_length <= MAX_DELTA_CHUNK_BYTES:
            raise MalformedError(
                f"delta index: a piece of {piece.length} bytes for a chunk of {piece.chunk_length}"
            )
        chunk_end = piece.chunk_offset + piece.chunk_length
        pack_end = piece.offset + piece.length
        wanted = {"zstd": 0, "patch": piece.chunk_length}.get(piece.coding, piece.base_length)
        if piece.base_length != wanted or piece.base_length > MAX_DELTA_CHUNK_BYTES:
            raise MalformedError(f"delta index: {piece.base_length} bytes of the base for a piece")
        if piece.base_offset + piece.base_length > index.base_length:
            raise MalformedError("delta index: a piece needs bytes beyond the end of its base")
    if chunk_end > index.file_length or pack_end > index.pack_length:
        raise MalformedError("delta index: pieces go beyond the end of file or pack")


def make_chunk(piece: DeltaPiece, data: bytes, base: bytes) -> bytes:
    """The chunk, from a piece and the base's bytes. It is right only when its hash is.

    Raises:
        MalformedError: Piece and base do not give a chunk.
    """
    if len(base) != piece.base_length:
        raise MalformedError(f"{len(base)} bytes of the base instead of {piece.base_length}")
    if piece.coding == "patch":
        return decode_patch(base, data)
    chunk = unzstd(data, piece.chunk_length, base if piece.coding == "against" else None)
    if len(chunk) != piece.chunk_length:
        raise MalformedError(f"a piece gave {len(chunk)} bytes instead of {piece.chunk_length}")
    return chunk

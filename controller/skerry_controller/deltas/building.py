"""From two model files to a delta: pieces in a pack, and the index to sign. Runs where the files are."""

import hashlib
import mmap
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skerry_controller.deltas.counterparts import Counterpart, Counterparts
from skerry_controller.errors import PeerError, UsageError, WorldError
from skerry_protocol.deltas import (
    MAX_DELTA_CHUNK_BYTES,
    Coding,
    DeltaIndex,
    DeltaPiece,
    delta_path,
    encode_delta_index,
    make_chunk,
)
from skerry_protocol.errors import ModelFileError, ProtocolError
from skerry_protocol.gguf_header import GgufHeader, read_gguf_header
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.manifest import Chunk, FileEntry
from skerry_protocol.tensor_patch import encode_patch

_QUICK_LEVEL, _LEVEL = 3, 19
_WORTH = 0.97
"""A piece that saves less than the rest of its chunk is left out: the index has a cost too."""


@dataclass(frozen=True, slots=True)
class Version:
    """A published file: as its manifest describes it, and where it is."""

    entry: FileEntry
    file: Path


@dataclass(frozen=True, slots=True)
class BuiltDelta:
    """What will be published.

    Attributes:
        target_path: Where the index is signed.
        content: The index.
        pack: The file with the pieces.
        pack_sha256: Its hash.
        pack_length: Its bytes.
        pieces: How many chunks can be made.
        made_bytes: Bytes of these chunks.
        unchanged_bytes: Bytes of chunks that the base has as they are, or that occur before.
        whole_bytes: Bytes of chunks that have to come whole.
    """

    target_path: str
    content: bytes
    pack: Path
    pack_sha256: str
    pack_length: int
    pieces: int
    made_bytes: int
    unchanged_bytes: int
    whole_bytes: int

    @property
    def transfer_bytes(self) -> int:
        """What a device with the base fetches: pack, index, and whole chunks."""
        return self.pack_length + len(self.content) + self.whole_bytes


def build_delta(
    name: str,
    new: Version,
    base: Version | None,
    pack: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> BuiltDelta | None:
    """Find the smallest way to each chunk of a file; None when none is smaller than the chunks themselves.

    Args:
        name: Of the artifact.
        new: The version that is to become cheaper.
        base: Another one, which devices have; None for no base.
        pack: Where to write the pack.
        progress: Called with the number of bytes done so far.

    The bytes of the base are taken for what its manifest says: check its hash before.

    Raises:
        PeerError: A file is not what its manifest says, or no model.
        UsageError: A file is missing.
        WorldError: The disk refused.
    """
    entry = new.entry
    held = {chunk.sha256 for chunk in base.entry.chunks} if base is not None else set()
    first: dict[str, Chunk] = {}
    for chunk in entry.chunks:
        # Equal chunks are fetched once.
        first.setdefault(chunk.sha256, chunk)
    wanted = [chunk for chunk in first.values() if chunk.sha256 not in held]
    with _mapped(new) as data, _mapped(base) as old:
        counterparts = Counterparts(_header(data, new), _header(old, base))
        pieces, digest = _write_pack(_Encoder(data, old, counterparts), wanted, pack, progress)
        if not pieces:
            return None
        index = DeltaIndex(
            name=name,
            file_sha256=entry.sha256,
            file_length=entry.length,
            base_sha256=base.entry.sha256 if base is not None else None,
            base_length=len(old),
            pack_sha256=digest,
            pack_length=pieces[-1].offset + pieces[-1].length,
            pieces=tuple(pieces),
        )
    made = sum(piece.chunk_length for piece in pieces)
    asked = sum(chunk.length for chunk in wanted)
    return BuiltDelta(
        target_path=delta_path(name, entry.sha256, index.base_sha256),
        content=_bounded(encode_delta_index(index)),
        pack=pack,
        pack_sha256=digest,
        pack_length=index.pack_length,
        pieces=len(pieces),
        made_bytes=made,
        unchanged_bytes=entry.length - asked,
        whole_bytes=asked - made,
    )


class _Encoder:
    """Makes pieces; used by several threads."""

    def __init__(self, new: mmap.mmap | bytes, old: mmap.mmap | bytes, counterparts: Counterparts) -> None:
        self._new = new
        self._old = old
        self._counterparts = counterparts

    def encode(self, chunk: Chunk) -> tuple[Coding, Counterpart, bytes] | None:
        """The smallest piece for a chunk, tried out; None when the chunk itself is as good."""
        if chunk.length > MAX_DELTA_CHUNK_BYTES:
            return None
        data = bytes(self._new[chunk.offset : chunk.offset + chunk.length])
        if hashlib.sha256(data).hexdigest() != chunk.sha256:
            raise PeerError("the file is not the published one: its chunks have other hashes")
        forms: list[tuple[Coding, Counterpart, bytes]] = []
        other = self._counterparts.find(chunk)
        if other is not None and other.length:
            base = bytes(self._old[other.offset : other.offset + other.length])
            # Weights rarely repeat: there a long search is not worth its time.
            level = _LEVEL if other.tensor_type is None else _QUICK_LEVEL
            forms.append(("against", other, _against(data, base, level)))
            if other.tensor_type is not None and other.length == chunk.length:
                patch = encode_patch(base, data, other.tensor_type, phase=other.phase)
                forms.append(("patch", other, patch))
        smallest = min((len(body) for _, _, body in forms), default=chunk.length)
        quick = _compress(data, _QUICK_LEVEL)
        if len(quick) < 2 * smallest:
            forms.append(("zstd", Counterpart(0, 0), min(quick, _compress(data, _LEVEL), key=len)))
        best = min(forms, key=lambda form: len(form[2]), default=None)
        if best is None or len(best[2]) >= chunk.length * _WORTH:
            return None
        self._try_out(chunk, best)
        return best

    def _try_out(self, chunk: Chunk, form: tuple[Coding, Counterpart, bytes]) -> None:
        coding, other, body = form
        piece = _piece(chunk, coding, other, body, 0)
        base = bytes(self._old[other.offset : other.offset + other.length])
        try:
            made = make_chunk(piece, body, base)
        except ProtocolError as error:
            raise RuntimeError(f"a {coding} piece cannot be read again") from error
        if hashlib.sha256(made).hexdigest() != chunk.sha256:
            raise RuntimeError(f"a {coding} piece gives other bytes than it was made of")


def _write_pack(
    encoder: _Encoder, chunks: list[Chunk], pack: Path, progress: Callable[[int], None] | None
) -> tuple[list[DeltaPiece], str]:
    pieces: list[DeltaPiece] = []
    digest, position, done = hashlib.sha256(), 0, 0
    try:
        with pack.open("wb") as out, ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
            # In groups, so that no more than a few finished pieces wait in memory.
            for start in range(0, len(chunks), 16):
                group = chunks[start : start + 16]
                for chunk, form in zip(group, threads.map(encoder.encode, group), strict=True):
                    done += chunk.length
                    if form is not None:
                        coding, other, body = form
                        pieces.append(_piece(chunk, coding, other, body, position))
                        out.write(body)
                        digest.update(body)
                        position += len(body)
                    if progress is not None:
                        progress(done)
    except OSError as error:
        raise WorldError(f"cannot write {pack}: {error.strerror}") from error
    return pieces, digest.hexdigest()


def _piece(chunk: Chunk, coding: Coding, other: Counterpart, body: bytes, offset: int) -> DeltaPiece:
    return DeltaPiece(
        chunk_offset=chunk.offset,
        chunk_length=chunk.length,
        coding=coding,
        base_offset=other.offset if other.length else 0,
        base_length=other.length,
        offset=offset,
        length=len(body),
        check=zlib.crc32(body),
    )


def _compress(data: bytes, level: int) -> bytes:
    import zstandard  # noqa: PLC0415 - heavy, and only here

    return zstandard.ZstdCompressor(level=level).compress(data)


def _against(data: bytes, base: bytes, level: int) -> bytes:
    import zstandard  # noqa: PLC0415 - the same

    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(level=level, dict_data=dictionary).compress(data)


def _header(data: mmap.mmap | bytes, version: Version | None) -> GgufHeader | None:
    if version is None:
        return None
    try:
        return read_gguf_header(data)
    except ModelFileError as error:
        raise PeerError(f"{version.file}: {error}") from error


@contextmanager
def _mapped(version: Version | None) -> Iterator[mmap.mmap | bytes]:
    """The bytes of a version's file, which has its length."""
    if version is None:
        yield b""
        return
    path, length = version.file, version.entry.length
    try:
        found = path.stat().st_size
        if found != length:
            raise PeerError(f"{path} has {found} bytes, the published file {length}: give that one")
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}") from error


def _bounded(content: bytes) -> bytes:
    limit = DEFAULT_LIMITS.max_manifest_bytes
    if len(content) > limit:
        raise UsageError(f"the index would have {len(content)} bytes; the limit is {limit}")
    return content

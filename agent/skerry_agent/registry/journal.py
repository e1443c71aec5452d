"""The journal of a partial download: which chunks are surely on the disk.

It is an append-only file beside the partial file, not a table, because it lives and dies with that file, has
one writer, and costs a few dozen bytes a sync where a database page costs thousands (SD cards wear out). Each
line carries a checksum; a tail that a power cut tore is cut off when it is read. Losing lines is harmless:
what they named is hashed again where it lies. A line too many would not be, so a chunk is journaled only
after its bytes were synced.

Form: ``skerry-journal 1 SHA256 LENGTH PLAN CRC``, then ``INDEX CRC`` a line. ``PLAN`` is the digest of the
chunk list and every ``CRC`` covers it, so lines of another file or another chunking never count.
"""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from skerry_protocol.manifest import Chunk

_MAGIC = "skerry-journal 1"


class JournalContent(NamedTuple):
    """What a journal says: indices of durable chunks, and how many of its bytes are sound."""

    indices: frozenset[int]
    sound_bytes: int


def plan_digest(sha256: str, chunks: Sequence[Chunk]) -> str:
    """Digest of what is downloaded and how it is cut."""
    digest = hashlib.sha256(sha256.encode())
    for chunk in chunks:
        digest.update(b"%d %d %s\n" % (chunk.offset, chunk.length, chunk.sha256.encode()))
    return digest.hexdigest()


def header_line(sha256: str, length: int, plan: str) -> bytes:
    """The first line of a new journal."""
    return _line(f"{_MAGIC} {sha256} {length} {plan}", plan)


def entry_lines(indices: Iterable[int], plan: str) -> bytes:
    """The lines that record chunks."""
    return b"".join(_line(str(index), plan) for index in indices)


def parse(data: bytes, sha256: str, length: int, plan: str, chunk_count: int) -> JournalContent:
    """Read a journal up to the first thing that is not sound.

    Returns:
        No indices and 0 sound bytes when the header is torn or belongs to another download.
    """
    expected = header_line(sha256, length, plan)
    if not data.startswith(expected):
        return JournalContent(frozenset(), 0)
    sound = len(expected)
    indices = set()
    for line in data[sound:].splitlines(keepends=True):
        index = _index(line, plan)
        if index is None or index >= chunk_count:
            break
        indices.add(index)
        sound += len(line)
    return JournalContent(frozenset(indices), sound)


def _line(text: str, plan: str) -> bytes:
    return f"{text} {_checksum(text, plan)}\n".encode("ascii")


def _checksum(text: str, plan: str) -> str:
    return f"{zlib.crc32(f'{plan} {text}'.encode()):08x}"


def _index(line: bytes, plan: str) -> int | None:
    number = line.partition(b" ")[0]
    # Compared as a whole, so a missing newline, a sign or leading zeros are no entry either.
    if not number.isdigit() or line != _line(str(int(number)), plan):
        return None
    return int(number)

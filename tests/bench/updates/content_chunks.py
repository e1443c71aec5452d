"""Content-defined chunks as Hugging Face's Xet cuts them: a gear hash, 64 KiB on average.

After the chunker of xet-core (``deduplication/src/chunking.rs``): ``h = (h << 1) + gear[byte]``, a cut
where the 16 highest bits of ``h`` are zero, chunks of 8 to 128 KiB. Because every byte is shifted out after
64 steps, the hash at a place depends on the 64 bytes before it alone, so numpy can compute all places at
once. The table is random, with a fixed seed: another one than Xet's, which changes where the cuts are, not
how many.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

KiB: Final = 1024
TARGET_BYTES: Final = 64 * KiB
MIN_BYTES: Final = TARGET_BYTES // 8
MAX_BYTES: Final = TARGET_BYTES * 2

_WINDOW: Final = 64
_BLOCK_BYTES: Final = 1 << 20
_SHIFT: Final = np.uint64(64 - (TARGET_BYTES.bit_length() - 1))
_GEAR: Final[NDArray[np.uint64]] = np.random.default_rng(64).integers(0, 1 << 64, 256, dtype=np.uint64)


def cut(data: memoryview | bytes) -> list[tuple[int, int]]:
    """Offset and length of each chunk, in the order of the file."""
    places = _places(data)
    cuts = [0]
    while cuts[-1] < len(data):
        first = int(np.searchsorted(places, cuts[-1] + MIN_BYTES))
        end = min(cuts[-1] + MAX_BYTES, len(data))
        cuts.append(min(end, int(places[first])) if first < len(places) else end)
    return [(start, end - start) for start, end in pairwise(cuts)]


def _places(data: memoryview | bytes) -> NDArray[np.int64]:
    """Ends of chunks that the content asks for."""
    found = list(_places_by_block(data))
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _places_by_block(data: memoryview | bytes) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(data), _BLOCK_BYTES):
        before = max(0, start - (_WINDOW - 1))
        hashes = window_hashes(np.frombuffer(data[before : start + _BLOCK_BYTES], np.uint8))
        ends = np.flatnonzero(hashes >> _SHIFT == 0) + before + 1
        yield ends[ends > start]


def window_hashes(data: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The gear hash after each byte; the first 63 see fewer bytes, as at the start of a file.

    By doubling: the hash over 2 n bytes is that over the last n, plus that over the n before, shifted by n.
    """
    hashes = _GEAR[data]
    width = 1
    while width < _WINDOW:
        earlier = hashes[:-width] << np.uint64(width)
        hashes = hashes.copy()
        hashes[width:] += earlier
        width *= 2
    return hashes

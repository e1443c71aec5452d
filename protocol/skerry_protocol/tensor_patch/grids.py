"""What the new numbers of a block will likely be, from the old ones and both blocks' scales.

A fine-tune moves each weight a little, and the largest of a block moves its scale. With another scale most
weights are nearest to the number ``(old scale * old number + …) / new scale``: that is the prediction. How
far it lies from a number says how likely the true one is another: that, with the number itself (or, where
numbers are bytes, the size of the scale), is the class under which the difference is written.
"""

import struct
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import NamedTuple

from skerry_protocol.tensor_patch.lanes import bits
from skerry_protocol.tensor_patch.layouts import Grid, Part

_SLOPES = 512
_SHIFTS = 64
_MAX_SLOPE = 4.0
_EDGES = (-36, -24, -16, -10, -6, -3, -1, 2, 4, 7, 11, 17, 25, 37)
"""Where classes of nearness begin, in hundredths of the distance between two numbers."""
_WILD = 15
_BYTE_BITS = 8

_NIBBLE_BITS = 4

Key = tuple[int, int, int]
_UNKNOWN: Key = (0, 0, -1)


class Scales(NamedTuple):
    """The scales of many blocks: half-precision fields as numbers and as bits, integer scales, by index."""

    halves: Sequence[Sequence[float]]
    levels: Sequence[Sequence[int]]
    codes: Sequence[Sequence[int]]


def read_scales(halves: Sequence[bytes], codes: bytes, centre: int) -> Scales:
    """Scales of blocks from the bytes of their fields."""
    count = len(halves[0]) // 2
    per_block = len(codes) // count if count else 0
    return Scales(
        [struct.unpack(f"<{count}e", half) for half in halves],
        [half[1::2] for half in halves],
        [[code - centre for code in codes[index::per_block]] for index in range(per_block)],
    )


@lru_cache(maxsize=1024)
def _tables(key: Key, depth: int) -> tuple[bytes, bytes]:
    """Old number -> class, and old number -> prediction."""
    numbers = range(1 << depth)
    middle, unit = (1 << depth) // 2, _SLOPES * _SHIFTS
    slope, shift, level = key
    predictions, classes = [], []
    for number in numbers:
        nearest, aside = number, _WILD
        if key != _UNKNOWN:
            # In whole numbers, so that every machine finds the same.
            exact = (number - middle) * slope * _SHIFTS + shift * _SLOPES + middle * unit
            nearest = min(max((exact + unit // 2) // unit, 0), len(numbers) - 1)
            aside = bisect(_EDGES, (exact - nearest * unit) * 100 // unit)
        predictions.append(nearest)
        classes.append(aside << 4 | (level & 15 if depth == _BYTE_BITS else nearest >> max(0, depth - 4)))
    return _padded(classes), _padded(predictions)


def _padded(numbers: Iterable[int]) -> bytes:
    return bytes(numbers).ljust(256, b"\0")


def predict(part: Part, numbers: bytes, old: Scales, new: Scales) -> tuple[bytes, bytes]:
    """Predictions and classes of all numbers of a part.

    Args:
        part: What they are.
        numbers: The old ones.
        old: Their scales.
        new: The scales of those that are to come.
    """
    # Grown in place: a list of all pieces would take several times their bytes.
    predicted, classes = bytearray(), bytearray()
    position, run = 0, part.run
    known: dict[Grid, list[tuple[bytes, bytes]]] = {}
    for plane in part.grids:
        for grid in plane:
            if grid not in known:
                known[grid] = [_tables(key, part.depth) for key in _keys(part, grid, old, new)]
        for kinds, predictions in chain.from_iterable(zip(*(known[grid] for grid in plane), strict=True)):
            piece = numbers[position : position + run]
            classes += piece.translate(kinds)
            if part.depth > _NIBBLE_BITS:
                predicted += piece.translate(predictions)
            position += run
    # A class of four bits holds the prediction itself.
    kinds = bytes(classes)
    return bytes(predicted) if predicted else bits(kinds, 0, 15), kinds


def _keys(part: Part, grid: Grid, old: Scales, new: Scales) -> Iterator[Key]:
    middle, sign = (1 << part.depth) // 2 - part.centre, part.offset_sign
    limit = float(1 << part.depth)
    levels = old.levels[grid.scale] if part.depth == _BYTE_BITS else repeat(0)
    for before, after, offset_before, offset_after, level in zip(
        _scales(grid, old), _scales(grid, new), _offsets(grid, old), _offsets(grid, new), levels, strict=False
    ):
        if after:
            slope = before / after
            shift = slope * middle - middle + sign * (offset_before - offset_after) / after
            if -_MAX_SLOPE < slope < _MAX_SLOPE and -limit < shift < limit:
                yield round(slope * _SLOPES), round(shift * _SHIFTS), level & 15
                continue
        yield _UNKNOWN


def _scales(grid: Grid, scales: Scales) -> Iterable[float]:
    values = scales.halves[grid.scale]
    if grid.code < 0:
        return values
    return [value * code for value, code in zip(values, scales.codes[grid.code], strict=True)]


def _offsets(grid: Grid, scales: Scales) -> Iterable[float]:
    if grid.offset < 0:
        return repeat(0.0)
    values = scales.halves[grid.offset]
    if grid.offset_code < 0:
        return values
    return [value * code for value, code in zip(values, scales.codes[grid.offset_code], strict=True)]

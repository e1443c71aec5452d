"""Embeddings cut to fewer dimensions. Pure."""

import math
from array import array


def shorten(vector: bytes, dimensions: int | None) -> "array[float]":
    """The first ``dimensions`` of a vector of little-endian 32-bit floats, scaled to length 1 again.

    Models that were trained for it (Matryoshka) keep their meaning then; others lose some.
    """
    values = array("f", vector)
    if dimensions is None or dimensions >= len(values):
        return values
    cut = values[:dimensions]
    length = math.sqrt(math.fsum(value * value for value in cut))
    return array("f", [value / length for value in cut]) if length else cut

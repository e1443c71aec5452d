"""Floating-point numbers: the difference of their bit patterns, sorted by the old one's exponent.

A weight moves by about the same amount whatever its size; counted in units of its last place that is a matter
of its exponent.
"""

from dataclasses import dataclass

from skerry_protocol.tensor_patch.lanes import (
    add,
    bits,
    either,
    from_zigzag,
    merge,
    shift_left,
    subtract,
    to_zigzag,
)
from skerry_protocol.tensor_patch.sorting import restore_order, sort_by_class
from skerry_protocol.tensor_patch.streams import Reader, read_stream, write_stream


@dataclass(frozen=True, slots=True)
class WordForm:
    """A floating-point format: bytes of a word, and how far to shift it for the last bits of its exponent."""

    width: int
    exponent_shift: int


HALF = WordForm(2, 10)
BFLOAT = WordForm(2, 7)
SINGLE = WordForm(4, 23)


def encode_words(old: bytes, new: bytes, form: WordForm) -> bytes:
    """The differences between words."""
    width = form.width
    symbols = to_zigzag(subtract(new, old, width), width)
    exponents = _exponents(old, form)
    out, above = b"", bytes(len(exponents))
    for index in reversed(range(width)):
        plane = symbols[index::width]
        out += write_stream(sort_by_class(plane, _classes(exponents, above)))
        above = plane
    return out


def decode_words(old: bytes, reader: Reader, form: WordForm) -> bytes:
    """The new words.

    Raises:
        MalformedError: The patch is damaged.
    """
    width = form.width
    exponents = _exponents(old, form)
    planes: list[bytes] = []
    above = bytes(len(exponents))
    for _ in range(width):
        above = restore_order(read_stream(reader, len(exponents)), _classes(exponents, above))
        planes.insert(0, above)
    return add(old, from_zigzag(merge(planes), width), width)


def _exponents(old: bytes, form: WordForm) -> bytes:
    """The last five bits of the exponent, moved up by three."""
    return shift_left(bits(old, form.exponent_shift, 31, form.width)[:: form.width], 3)


def _classes(exponents: bytes, above: bytes) -> bytes:
    """Together with the byte above, as far as it is small: it says how the one below is distributed."""
    return either(exponents, above.translate(_SMALL))


_SMALL = bytes(min(value, 7) for value in range(256))

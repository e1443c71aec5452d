"""Arithmetic on many small numbers at once: the bytes as one large integer, cut into lanes.

CPython adds, masks and shifts large integers at the speed of C, and nothing here looks at a single lane. A
lane is ``width`` bytes, little endian; sums and differences wrap around within it. Long data go through in
pieces, which stay in the processor's cache, and so do the intermediate results.
"""

from collections.abc import Callable

_PIECE = 1 << 16
"""Bytes of a piece; a multiple of every width."""


def _in_pieces(work: Callable[..., bytes], *data: bytes) -> bytes:
    length = len(data[0])
    if length <= _PIECE:
        return work(*data)
    starts = range(0, length, _PIECE)
    return b"".join(work(*(part[start : start + _PIECE] for part in data)) for start in starts)


def repeat(value: int, width: int, count: int) -> int:
    """``count`` lanes that all hold ``value``."""
    return int.from_bytes(value.to_bytes(width, "little") * count, "little")


def subtract(left: bytes, right: bytes, width: int) -> bytes:
    """``left - right`` in each lane."""
    return _in_pieces(lambda a, b: _subtract(a, b, width), left, right)


def _subtract(left: bytes, right: bytes, width: int) -> bytes:
    count, top = len(left) // width, 1 << (8 * width - 1)
    high = repeat(top, width, count)
    a, b = int.from_bytes(left, "little"), int.from_bytes(right, "little")
    # The highest bit of each lane is kept out of the subtraction, so that no lane borrows from its neighbour
    # (SWAR, as in Hacker's Delight, 2-18).
    low = (a | high) - (b & ~high)
    return (low ^ ((a ^ b ^ high) & high)).to_bytes(len(left), "little")


def add(left: bytes, right: bytes, width: int) -> bytes:
    """``left + right`` in each lane."""
    return _in_pieces(lambda a, b: _add(a, b, width), left, right)


def _add(left: bytes, right: bytes, width: int) -> bytes:
    count, top = len(left) // width, 1 << (8 * width - 1)
    high = repeat(top, width, count)
    a, b = int.from_bytes(left, "little"), int.from_bytes(right, "little")
    low = (a & ~high) + (b & ~high)
    return (low ^ ((a ^ b) & high)).to_bytes(len(left), "little")


def xor(left: bytes, right: bytes) -> bytes:
    """``left ^ right``."""
    return _in_pieces(_xor, left, right)


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "little") ^ int.from_bytes(right, "little")).to_bytes(len(left), "little")


def either(left: bytes, right: bytes) -> bytes:
    """``left | right``."""
    return _in_pieces(_either, left, right)


def _either(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "little") | int.from_bytes(right, "little")).to_bytes(len(left), "little")


def bits(data: bytes, shift: int, mask: int, width: int = 1) -> bytes:
    """``(lane >> shift) & mask`` in each lane."""
    return _in_pieces(lambda piece: _bits(piece, shift, mask, width), data)


def _bits(data: bytes, shift: int, mask: int, width: int) -> bytes:
    lanes = int.from_bytes(data, "little") >> shift
    return (lanes & repeat(mask, width, len(data) // width)).to_bytes(len(data), "little")


def shift_left(data: bytes, shift: int) -> bytes:
    """``byte << shift`` in each byte; what it holds must not leave it."""
    return _in_pieces(
        lambda piece: (int.from_bytes(piece, "little") << shift).to_bytes(len(piece), "little"), data
    )


def to_zigzag(data: bytes, width: int) -> bytes:
    """Lanes as signed numbers to 0, -1, 1, -2, … as 0, 1, 2, 3, …: small differences become small numbers."""
    return _in_pieces(lambda piece: _to_zigzag(piece, width), data)


def _to_zigzag(data: bytes, width: int) -> bytes:
    count, top = len(data) // width, 1 << (8 * width - 1)
    high, lanes = repeat(top, width, count), int.from_bytes(data, "little")
    negative = ((lanes & high) >> (8 * width - 1)) * (2 * top - 1)
    return (((lanes & ~high) << 1) ^ negative).to_bytes(len(data), "little")


def from_zigzag(data: bytes, width: int) -> bytes:
    """What :func:`to_zigzag` was given."""
    return _in_pieces(lambda piece: _from_zigzag(piece, width), data)


def _from_zigzag(data: bytes, width: int) -> bytes:
    count, top = len(data) // width, 1 << (8 * width - 1)
    lanes, one = int.from_bytes(data, "little"), repeat(1, width, count)
    negative = (lanes & one) * (2 * top - 1)
    return (((lanes & ~one) >> 1) ^ negative).to_bytes(len(data), "little")


def merge(planes: "list[bytes]") -> bytes:
    """Planes of bytes to lanes: the first plane holds the lowest bytes."""
    out = bytearray(sum(map(len, planes)))
    for index, plane in enumerate(planes):
        out[index :: len(planes)] = plane
    return bytes(out)


def field(data: bytes, offset: int, length: int, stride: int) -> bytes:
    """The ``length`` bytes at ``offset`` of every ``stride`` bytes, one after the other."""
    out = bytearray(len(data) // stride * length)
    for index in range(length):
        out[index::length] = data[offset + index :: stride]
    return bytes(out)


def put_field(out: bytearray, field_bytes: bytes, offset: int, length: int, stride: int) -> None:
    """The reverse of :func:`field`."""
    for index in range(length):
        out[offset + index :: stride] = field_bytes[index::length]

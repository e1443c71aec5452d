"""What the blocks of each quantization hold, taken apart and put together again.

Source: ``ggml-common.h`` (``block_q4_0`` … ``block_q6_K``) and ``ggml-quants.c`` of llama.cpp. Quants come
out as one byte each, in an order in which all that share a scale lie side by side (a *run*).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from skerry_protocol.tensor_patch.lanes import bits, either, field, put_field, shift_left

Take = Callable[[bytes], bytes]
Put = Callable[[bytearray, bytes], None]


class Grid(NamedTuple):
    """How numbers stand for weights: ``scale * code * (number - centre) + offset * offset_code``.

    ``scale`` and ``offset`` are indices of half-precision fields, the codes of integer scales; -1 is none.
    """

    scale: int
    code: int = -1
    offset: int = -1
    offset_code: int = -1


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of numbers in a block.

    Attributes:
        take: From blocks to these numbers.
        put: From these numbers into (zeroed) blocks.
        depth: Bits of a number.
        run: So many neighbours share a grid.
        grids: Planes, one after the other over all blocks; in each the grids of a block's runs.
        centre: The number that stands for 0.
        offset_sign: -1 where the offset is subtracted.
    """

    take: Take
    put: Put
    depth: int
    run: int
    grids: tuple[tuple[Grid, ...], ...]
    centre: int = 0
    offset_sign: int = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """A quantization: half-precision fields at these offsets, integer scales, and quants."""

    block_bytes: int
    halves: tuple[int, ...]
    quants: Part
    codes: Part | None = None


def _nibbles(offset: int, length: int, stride: int) -> tuple[Take, Put]:
    def take(data: bytes) -> bytes:
        packed = field(data, offset, length, stride)
        return bits(packed, 0, 15) + bits(packed, 4, 15)

    def put(out: bytearray, quants: bytes) -> None:
        half = len(quants) // 2
        low, high = bits(quants[:half], 0, 15), bits(quants[half:], 0, 15)
        put_field(out, either(low, shift_left(high, 4)), offset, length, stride)

    return take, put


def _unpack_bits(packed: bytes) -> bytes:
    """Bit after bit, the lowest of each byte first, one a byte."""
    out = bytearray(8 * len(packed))
    for bit in range(8):
        out[bit::8] = bits(packed, bit, 1)
    return bytes(out)


def _pack_bits(flags: bytes) -> bytes:
    packed = bytes(len(flags) // 8)
    for bit in range(8):
        packed = either(packed, shift_left(flags[bit::8], bit))
    return packed


def _q5(bits_at: int, quants_at: int, stride: int) -> tuple[Take, Put]:
    """Q5_0 and Q5_1: bit j of 32 belongs to the low nibble j, bit j + 16 to the high one."""
    take4, put4 = _nibbles(quants_at, 16, stride)

    def take(data: bytes) -> bytes:
        flags = _unpack_bits(field(data, bits_at, 4, stride))
        top = field(flags, 0, 16, 32) + field(flags, 16, 16, 32)
        return either(take4(data), shift_left(top, 4))

    def put(out: bytearray, quants: bytes) -> None:
        put4(out, quants)
        top, half = bits(quants, 4, 1), len(quants) // 2
        flags = bytearray(len(quants))
        put_field(flags, top[:half], 0, 16, 32)
        put_field(flags, top[half:], 16, 16, 32)
        put_field(out, _pack_bits(bytes(flags)), bits_at, 4, stride)

    return take, put


def _q5_k(bits_at: int, quants_at: int, stride: int) -> tuple[Take, Put]:
    """Q5_K: in 32 bytes of bits, bit 2g belongs to the low nibbles of group g, bit 2g + 1 to the high."""
    take4, put4 = _nibbles(quants_at, 128, stride)

    def take(data: bytes) -> bytes:
        flags = field(data, bits_at, 32, stride)
        tops = []
        for nibble in range(2):
            top = bytearray(4 * len(flags))
            for group in range(4):
                put_field(top, bits(flags, 2 * group + nibble, 1), 32 * group, 32, 128)
            tops.append(bytes(top))
        return either(take4(data), shift_left(b"".join(tops), 4))

    def put(out: bytearray, quants: bytes) -> None:
        put4(out, quants)
        top, half = bits(quants, 4, 1), len(quants) // 2
        flags = bytes(half // 4)
        for nibble, plane in enumerate((top[:half], top[half:])):
            for group in range(4):
                flags = either(flags, shift_left(field(plane, 32 * group, 32, 128), 2 * group + nibble))
        put_field(out, flags, bits_at, 32, stride)

    return take, put


def _q6_k() -> tuple[Take, Put]:
    """Q6_K: per half of a block 64 bytes of nibbles, and 32 bytes with four pairs of upper bits each."""
    take4, put4 = _nibbles(0, 128, 210)

    def take(data: bytes) -> bytes:
        pairs = field(data, 128, 64, 210)
        tops = []
        for nibble in range(2):
            top = bytearray(2 * len(pairs))
            for quarter in range(2):
                put_field(top, bits(pairs, 4 * nibble + 2 * quarter, 3), 32 * quarter, 32, 64)
            tops.append(bytes(top))
        return either(take4(data), shift_left(b"".join(tops), 4))

    def put(out: bytearray, quants: bytes) -> None:
        put4(out, quants)
        top, half = bits(quants, 4, 3), len(quants) // 2
        pairs = bytes(half // 2)
        for nibble, plane in enumerate((top[:half], top[half:])):
            for quarter in range(2):
                part = field(plane, 32 * quarter, 32, 64)
                pairs = either(pairs, shift_left(part, 4 * nibble + 2 * quarter))
        put_field(out, pairs, 128, 64, 210)

    return take, put


def _k_scales(offset: int, stride: int) -> tuple[Take, Put]:
    """The 8 scales and 8 minima of Q4_K and Q5_K, six bits each in 12 bytes (``get_scale_min_k4``)."""

    def take(data: bytes) -> bytes:
        scales, mins, rest = (field(data, offset + part, 4, stride) for part in (0, 4, 8))
        upper_scales = either(bits(rest, 0, 15), shift_left(bits(scales, 6, 3), 4))
        upper_mins = either(bits(rest, 4, 15), shift_left(bits(mins, 6, 3), 4))
        out = bytearray(4 * len(scales))
        for place, part in enumerate((bits(scales, 0, 63), upper_scales, bits(mins, 0, 63), upper_mins)):
            put_field(out, part, 4 * place, 4, 16)
        return bytes(out)

    def put(out: bytearray, codes: bytes) -> None:
        scales, upper_scales, mins, upper_mins = (field(codes, 4 * place, 4, 16) for place in range(4))
        packed = (
            either(scales, shift_left(bits(upper_scales, 4, 3), 6)),
            either(mins, shift_left(bits(upper_mins, 4, 3), 6)),
            either(bits(upper_scales, 0, 15), shift_left(bits(upper_mins, 0, 15), 4)),
        )
        for place, part in enumerate(packed):
            put_field(out, part, offset + 4 * place, 4, stride)

    return take, put


def _signed(offset: int, length: int, stride: int) -> tuple[Take, Put]:
    """Signed bytes, moved up by 128."""
    flip = bytes(value ^ 128 for value in range(256))

    def take(data: bytes) -> bytes:
        return field(data, offset, length, stride).translate(flip)

    def put(out: bytearray, quants: bytes) -> None:
        put_field(out, quants.translate(flip), offset, length, stride)

    return take, put


def _k_grids(*codes: tuple[int, ...]) -> tuple[tuple[Grid, ...], ...]:
    return tuple(tuple(Grid(0, code, 1, code + 8) for code in plane) for plane in codes)


_PLAIN = ((Grid(0),), (Grid(0),))
_WITH_OFFSET = ((Grid(0, -1, 1),), (Grid(0, -1, 1),))
_K = _k_grids((0, 2, 4, 6), (1, 3, 5, 7))
_K_CODES = ((Grid(0), Grid(1)),)
_Q6_K = tuple(
    tuple(Grid(0, code) for code in plane)
    for plane in ((0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
)

LAYOUTS: dict[str, Layout] = {
    "Q4_0": Layout(18, (0,), Part(*_nibbles(2, 16, 18), 4, 16, _PLAIN, centre=8)),
    "Q4_1": Layout(20, (0, 2), Part(*_nibbles(4, 16, 20), 4, 16, _WITH_OFFSET)),
    "Q5_0": Layout(22, (0,), Part(*_q5(2, 6, 22), 5, 16, _PLAIN, centre=16)),
    "Q5_1": Layout(24, (0, 2), Part(*_q5(4, 8, 24), 5, 16, _WITH_OFFSET)),
    "Q8_0": Layout(34, (0,), Part(*_signed(2, 32, 34), 8, 32, ((Grid(0),),), centre=128)),
    "Q4_K": Layout(
        144,
        (0, 2),
        Part(*_nibbles(16, 128, 144), 4, 32, _K, offset_sign=-1),
        Part(*_k_scales(4, 144), 6, 8, _K_CODES),
    ),
    "Q5_K": Layout(
        176,
        (0, 2),
        Part(*_q5_k(16, 48, 176), 5, 32, _K, offset_sign=-1),
        Part(*_k_scales(4, 176), 6, 8, _K_CODES),
    ),
    "Q6_K": Layout(
        210,
        (208,),
        Part(*_q6_k(), 6, 16, _Q6_K, centre=32),
        Part(*_signed(192, 16, 210), 8, 16, ((Grid(0),),), centre=128),
    ),
}
"""Layouts by the name of the tensor type (``gguf_types``)."""

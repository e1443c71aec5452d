"""What a patch rebuilds is what it was made from, whatever the bytes."""

import struct

import pytest

from skerry_protocol.gguf_types import TENSOR_TYPES
from skerry_protocol.tensor_patch import decode_patch, encode_patch
from skerry_protocol.tensor_patch.layouts import LAYOUTS
from support.dice import dice

KINDS = {kind.name: kind for kind in TENSOR_TYPES.values()}
PATCHED = [
    "F16",
    "BF16",
    "F32",
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "Q2_K",
    "IQ4_XS",
]


def blocks(kind: str, count: int, seed: int) -> bytes:
    """Random blocks whose half-precision fields hold numbers of a likely size."""
    source = dice(seed)
    data = bytearray(source.randbytes(count * KINDS[kind].block_bytes))
    for offset in LAYOUTS[kind].halves if kind in LAYOUTS else ():
        for start in range(offset, len(data), KINDS[kind].block_bytes):
            struct.pack_into("<e", data, start, source.uniform(0.01, 0.02))
    return bytes(data)


def changed(data: bytes, every: int, seed: int) -> bytes:
    source = dice(seed)
    out = bytearray(data)
    for position in range(0, len(out), every):
        out[position] = (out[position] + source.choice((1, 255))) % 256
    return bytes(out)


@pytest.mark.parametrize("kind", PATCHED)
@pytest.mark.parametrize("every", [1, 2, 37, 10**9])
def test_a_patch_gives_the_new_bytes(kind: str, every: int) -> None:
    old = blocks(kind, 60, seed=1)
    new = changed(old, every, seed=2)
    assert decode_patch(old, encode_patch(old, new, kind)) == new


@pytest.mark.parametrize("kind", PATCHED)
def test_bytes_that_have_nothing_to_do_with_each_other_are_patched_too(kind: str) -> None:
    old, new = dice(3).randbytes(8400), dice(4).randbytes(8400)
    assert decode_patch(old, encode_patch(old, new, kind)) == new


@pytest.mark.parametrize("kind", PATCHED)
@pytest.mark.parametrize(("start", "end"), [(0, 1), (5, 5), (5, 7), (7, 1999), (17, 2000)])
def test_a_piece_may_begin_and_end_within_a_block(kind: str, start: int, end: int) -> None:
    old = blocks(kind, 2000 // KINDS[kind].block_bytes + 1, seed=5)
    new = changed(old, 11, seed=6)
    patch = encode_patch(old[start:end], new[start:end], kind, phase=start % KINDS[kind].block_bytes)
    assert decode_patch(old[start:end], patch) == new[start:end]


@pytest.mark.parametrize("kind", ["F16", "F32", "Q8_0", "Q5_1", "Q6_K"])
def test_long_pieces_are_patched_as_short_ones_are(kind: str) -> None:
    old = blocks(kind, 150_000 // KINDS[kind].block_bytes, seed=11)
    new = changed(old, 3, seed=12)
    assert decode_patch(old, encode_patch(old, new, kind)) == new


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_blocks_are_taken_apart_without_loss(kind: str) -> None:
    layout, data = LAYOUTS[kind], dice(7).randbytes(50 * KINDS[kind].block_bytes)
    out = bytearray(len(data))
    for offset in layout.halves:
        for byte in (offset, offset + 1):
            out[byte :: layout.block_bytes] = data[byte :: layout.block_bytes]
    for part in filter(None, (layout.codes, layout.quants)):
        part.put(out, part.take(data))
    assert bytes(out) == data


def test_layouts_agree_with_the_format() -> None:
    for name, layout in LAYOUTS.items():
        assert layout.block_bytes == KINDS[name].block_bytes
        quants = layout.quants
        assert sum(map(len, quants.grids)) * quants.run == KINDS[name].block_elements


def test_rare_small_changes_cost_little_more_than_they_say() -> None:
    old = blocks("Q4_0", 4000, seed=8)
    new = bytearray(old)
    source = dice(9)
    for _ in range(640):  # 1 of 200 quants, one step each
        position = source.randrange(4000) * 18 + 2 + source.randrange(16)
        new[position] = new[position] & 0xF0 | min(new[position] & 15, 14) + 1
    # 640 of 128,000 places: 640 * (log2(200) + log2(e)) bits are 730 bytes.
    assert len(encode_patch(old, bytes(new), "Q4_0")) < 900


def test_a_change_of_scale_predicts_the_quants() -> None:
    """Weights that stay while the scale grows: numbers move with it, and cost next to nothing."""
    source = dice(10)
    old, new = bytearray(), bytearray()
    for _ in range(400):
        weights = [source.uniform(-1, 1) for _ in range(32)]
        for file, scale in ((old, 1 / 127), (new, 1.25 / 127)):
            half = struct.pack("<e", scale)
            (exact,) = struct.unpack("<e", half)
            file.extend(half + struct.pack("32b", *(round(weight / exact) for weight in weights)))
    # The old number leaves it open on which side of a border the weight is: a bit of seven or so.
    assert len(encode_patch(bytes(old), bytes(new), "Q8_0")) < len(new) / 6

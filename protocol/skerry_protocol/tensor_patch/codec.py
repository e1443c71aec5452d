"""A patch: which layout, how much of a block stands at both ends, and streams of numbers.

``[layout, head, tail] edges, words…, codes, quants``: ``head`` bytes before the first whole block and
``tail`` after the last one are patched byte by byte.
"""

from dataclasses import dataclass
from functools import cache

from skerry_protocol.errors import MalformedError, TooLargeError
from skerry_protocol.gguf_types import TENSOR_TYPES
from skerry_protocol.tensor_patch import lanes
from skerry_protocol.tensor_patch.grids import Scales, predict, read_scales
from skerry_protocol.tensor_patch.layouts import LAYOUTS, Layout, Part
from skerry_protocol.tensor_patch.sorting import restore_order, sort_by_class
from skerry_protocol.tensor_patch.streams import Reader, read_stream, write_number, write_stream
from skerry_protocol.tensor_patch.words import BFLOAT, HALF, SINGLE, decode_words, encode_words

_WORDS = {"F16": HALF, "BF16": BFLOAT, "F32": SINGLE}
_NAMES = {kind.id: kind.name for kind in TENSOR_TYPES.values()}
_IDS = {kind.name: kind.id for kind in TENSOR_TYPES.values()}
_BLOCK_BYTES = {kind.id: kind.block_bytes for kind in TENSOR_TYPES.values()}


@dataclass(frozen=True, slots=True)
class PatchLimits:
    """Bounds in bytes.

    Attributes:
        max_length: Longest piece of a tensor that is patched at once; memory is some 20 times that.
    """

    max_length: int = 1024 * 1024


def encode_patch(old: bytes, new: bytes, tensor_type: str, *, phase: int = 0) -> bytes:
    """What turns ``old`` into ``new``.

    Args:
        old: Bytes of a tensor.
        new: The bytes of the same place in another version, of the same length.
        tensor_type: As ``gguf_types`` names it, such as ``Q4_K``.
        phase: How many bytes into a block both begin.

    Raises:
        ValueError: The lengths differ, or there is no such type.
    """
    if len(old) != len(new):
        raise ValueError(f"{len(old)} bytes cannot be patched to {len(new)}")
    kind = _IDS.get(tensor_type)
    if kind is None:
        raise ValueError(f"there is no tensor type {tensor_type!r}")
    head = min(-phase % _BLOCK_BYTES[kind], len(new))
    tail = (len(new) - head) % _BLOCK_BYTES[kind]
    end = len(new) - tail
    edges = lanes.xor(old[:head] + old[end:], new[:head] + new[end:])
    body = _encode_body(old[head:end], new[head:end], kind)
    return bytes([kind]) + write_number(head) + write_number(tail) + write_stream(edges) + body


def decode_patch(old: bytes, patch: bytes, *, limits: PatchLimits | None = None) -> bytes:
    """The new bytes, as many as ``old`` has. They are right only when their hash is.

    Raises:
        MalformedError: The patch is damaged, or of a kind that this program does not know.
        TooLargeError: ``old`` is longer than what may be patched at once.
    """
    limit = (limits or PatchLimits()).max_length
    if len(old) > limit:
        raise TooLargeError(f"a patch of {len(old)} bytes; the limit is {limit}")
    reader = Reader(patch)
    kind, head, tail = reader.take(1)[0], reader.number(), reader.number()
    block = _BLOCK_BYTES.get(kind)
    if (
        block is None
        or head >= block
        or tail >= block
        or (len(old) - head - tail) % block
        or head + tail > len(old)
    ):
        raise MalformedError("a patch is not for these bytes")
    end = len(old) - tail
    edges = lanes.xor(old[:head] + old[end:], read_stream(reader, head + tail))
    body = _decode_body(old[head:end], reader, kind)
    reader.end()
    return edges[:head] + body + edges[head:]


def _encode_body(old: bytes, new: bytes, kind: int) -> bytes:
    name = _NAMES[kind]
    if name in _WORDS:
        return encode_words(old, new, _WORDS[name])
    layout = LAYOUTS.get(name)
    if not old:
        return b""
    if layout is None:
        return write_stream(lanes.field(lanes.xor(old, new), 0, block := _BLOCK_BYTES[kind], block))
    return _encode_blocks(old, new, layout)


def _decode_body(old: bytes, reader: Reader, kind: int) -> bytes:
    name = _NAMES[kind]
    if name in _WORDS:
        return decode_words(old, reader, _WORDS[name])
    layout = LAYOUTS.get(name)
    if not old:
        return b""
    if layout is None:
        return lanes.xor(old, read_stream(reader, len(old)))
    return _decode_blocks(old, reader, layout)


def _encode_blocks(old: bytes, new: bytes, layout: Layout) -> bytes:
    size = layout.block_bytes
    out = b""
    old_halves = [lanes.field(old, offset, 2, size) for offset in layout.halves]
    new_halves = [lanes.field(new, offset, 2, size) for offset in layout.halves]
    for before, after in zip(old_halves, new_halves, strict=True):
        out += encode_words(before, after, HALF)
    old_codes = new_codes = b""
    if layout.codes is not None:
        old_codes, new_codes = layout.codes.take(old), layout.codes.take(new)
        out += _encode_part(layout.codes, old_codes, new_codes, *_scales(layout, old_halves, new_halves))
    scales = _scales(layout, old_halves, new_halves, old_codes, new_codes)
    return out + _encode_part(layout.quants, layout.quants.take(old), layout.quants.take(new), *scales)


def _decode_blocks(old: bytes, reader: Reader, layout: Layout) -> bytes:
    size = layout.block_bytes
    out = bytearray(len(old))
    old_halves = [lanes.field(old, offset, 2, size) for offset in layout.halves]
    new_halves = [decode_words(before, reader, HALF) for before in old_halves]
    for offset, half in zip(layout.halves, new_halves, strict=True):
        lanes.put_field(out, half, offset, 2, size)
    old_codes = new_codes = b""
    if layout.codes is not None:
        old_codes = layout.codes.take(old)
        new_codes = _decode_part(layout.codes, old_codes, reader, *_scales(layout, old_halves, new_halves))
        layout.codes.put(out, new_codes)
    scales = _scales(layout, old_halves, new_halves, old_codes, new_codes)
    layout.quants.put(out, _decode_part(layout.quants, layout.quants.take(old), reader, *scales))
    return bytes(out)


def _scales(
    layout: Layout,
    old_halves: list[bytes],
    new_halves: list[bytes],
    old_codes: bytes = b"",
    new_codes: bytes = b"",
) -> tuple[Scales, Scales]:
    centre = layout.codes.centre if layout.codes is not None else 0
    return read_scales(old_halves, old_codes, centre), read_scales(new_halves, new_codes, centre)


def _encode_part(part: Part, old: bytes, new: bytes, old_scales: Scales, new_scales: Scales) -> bytes:
    predicted, classes = predict(part, old, old_scales, new_scales)
    symbols = lanes.subtract(new, predicted, 1).translate(_symbols(part.depth))
    return write_stream(sort_by_class(symbols, classes))


def _decode_part(part: Part, old: bytes, reader: Reader, old_scales: Scales, new_scales: Scales) -> bytes:
    ordered = read_stream(reader, len(old))
    predicted, classes = predict(part, old, old_scales, new_scales)
    symbols = restore_order(ordered, classes).translate(_differences(part.depth))
    return lanes.bits(lanes.add(predicted, symbols, 1), 0, (1 << part.depth) - 1)


@cache
def _symbols(depth: int) -> bytes:
    """Difference modulo 256 -> how far it is modulo ``2 ** depth``, the nearer the smaller."""
    size = 1 << depth
    signed = ((value + size // 2) % size - size // 2 for value in range(256))
    return bytes(2 * value if value >= 0 else -2 * value - 1 for value in signed)


@cache
def _differences(depth: int) -> bytes:
    """The reverse of :func:`_symbols`, modulo 256; what does not occur there is 0."""
    size = 1 << depth
    return bytes((-(s + 1) // 2 if s & 1 else s // 2) % 256 if s < size else 0 for s in range(256))

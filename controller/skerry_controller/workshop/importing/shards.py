"""Models that come as several files, ``…-00001-of-00003.gguf``: all there, all whole, and joined.

llama.cpp's ``gguf-split`` writes the metadata into the first part only; each part has its own tensors and the
keys ``split.no``, ``split.count`` and ``split.tensors.count``. A library and a device want one file.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from skerry_controller.artifacts.mapped_model import mapped_model
from skerry_controller.errors import PeerError
from skerry_controller.workshop.importing.naming import SHARD
from skerry_controller.workshop.progress import Progress, StopSign
from skerry_protocol.gguf_header import MAGIC, Buffer, GgufHeader, TensorInfo, read_gguf_header

T = TypeVar("T")

_COUNT: Final = "split.count"
_NUMBER: Final = "split.no"
_TENSORS: Final = "split.tensors.count"
_PIECE_BYTES: Final = 4 * 1024 * 1024


class _Part(NamedTuple):
    path: Path
    header: GgufHeader


def shard_names(name: str) -> list[str] | None:
    """The names of all parts of the model that this file is a part of; None when it is none."""
    match = SHARD.fullmatch(name)
    if match is None:
        return None
    count = int(match[3])
    if not 1 <= int(match[2]) <= count:
        raise PeerError(f"{name} cannot be: there are {count} parts")
    return [f"{match[1]}-{number:05}-of-{match[3]}{match[4] or ''}" for number in range(1, count + 1)]


def whole_sets(items: Sequence[T], name_of: Callable[[T], str]) -> list[list[T]]:
    """Files by model: one each, or the parts of one in order.

    Raises:
        PeerError: A part is missing.
    """
    there = {name_of(item): item for item in items}
    sets, seen = [], set()
    for name, item in there.items():
        names = shard_names(name) or [name]
        if names[0] in seen:
            continue
        seen.add(names[0])
        missing = [each for each in names if each not in there]
        if missing:
            raise PeerError(
                f"the model comes in {len(names)} parts, and {', '.join(missing[:3])} is missing: get "
                "all of them"
            )
        sets.append([there[each] for each in names] if len(names) > 1 else [item])
    return sets


def join_shards(paths: Sequence[Path], target: Path, progress: Progress, stop: StopSign) -> None:
    """Write the parts as one file.

    Args:
        paths: All parts, in order.
        target: The new file.
        progress: Told the bytes written.
        stop: Looked at between pieces.

    Raises:
        PeerError: A part is truncated, damaged, or belongs to another model.
        StoppedError: Somebody asked.
    """
    parts = [_Part(path, _header(path)) for path in paths]
    _check(parts)
    first = parts[0].header
    with mapped_model(parts[0].path) as data:
        head = _head(data, first, [tensor for part in parts for tensor in part.header.tensors])
    total = len(head) + sum(_padded(t.length, first.alignment) for p in parts for t in p.header.tensors)
    what = f"joining {len(parts)} parts"
    with target.open("xb") as out:
        out.write(head)
        for part in parts:
            with mapped_model(part.path) as data:
                for tensor in part.header.tensors:
                    for offset in range(tensor.offset, tensor.offset + tensor.length, _PIECE_BYTES):
                        stop.check()
                        end = min(offset + _PIECE_BYTES, tensor.offset + tensor.length)
                        out.write(data[offset:end])
                        progress(what, out.tell(), total)
                    out.write(bytes(_padded(tensor.length, first.alignment) - tensor.length))


def _header(path: Path) -> GgufHeader:
    with mapped_model(path) as data:
        return read_gguf_header(data)


def _check(parts: Sequence[_Part]) -> None:
    for number, (path, header) in enumerate(parts):
        found = header.metadata.get(_NUMBER), header.metadata.get(_COUNT)
        if found != (number, len(parts)):
            raise PeerError(
                f"{path.name} is by its header part {found[0]} of {found[1]} (counted from 0), and by its "
                f"name part {number} of {len(parts)}: the parts do not belong together"
            )
        if header.alignment != parts[0].header.alignment:
            raise PeerError(f"{path.name} has another alignment than the first part: get all parts again")
    wanted = parts[0].header.metadata.get(_TENSORS)
    names = [tensor.name for _, header in parts for tensor in header.tensors]
    if wanted != len(names) or len(set(names)) != len(names):
        raise PeerError(f"the parts hold {len(set(names))} tensors, where the first one speaks of {wanted}")


def _head(data: Buffer, first: GgufHeader, tensors: Sequence[TensorInfo]) -> bytes:
    """Header of the whole: the first part's metadata without those of the split, and all tensors."""
    kept = [entry for entry in first.entries if not entry.key.startswith("split.")]
    head = bytearray(struct.pack("<4sIQQ", MAGIC, first.version, len(tensors), len(kept)))
    for entry in kept:
        head += data[entry.offset : entry.offset + entry.length]
    offset = 0
    for tensor in tensors:
        name = tensor.name.encode()
        head += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(tensor.dimensions))
        head += struct.pack(f"<{len(tensor.dimensions)}Q", *tensor.dimensions)
        head += struct.pack("<IQ", tensor.type.id, offset)
        offset += _padded(tensor.length, first.alignment)
    return bytes(head) + bytes(_padded(len(head), first.alignment) - len(head))


def _padded(length: int, alignment: int) -> int:
    return -(-length // alignment) * alignment

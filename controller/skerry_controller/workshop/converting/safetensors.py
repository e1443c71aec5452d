"""Headers of safetensors files: what is inside, and whether all of it is there.

Source: the format's description at https://github.com/huggingface/safetensors.
"""

import json
import struct
from pathlib import Path
from typing import Final, NamedTuple

from skerry_controller.errors import PeerError

MAX_HEADER_BYTES: Final = 100_000_000
"""The format's own limit."""
_LENGTH: Final = struct.Struct("<Q")
_METADATA: Final = "__metadata__"
_BITS: Final = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


class StoredTensor(NamedTuple):
    """A tensor of a file."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements."""
        count = 1
        for axis in self.shape:
            count *= axis
        return count


def read_safetensors(file: Path) -> dict[str, StoredTensor]:
    """The tensors of a file by name.

    Raises:
        PeerError: It is none, is cut short, or its header contradicts itself.
        OSError: The disk refused.
    """
    length = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise PeerError(f"{file} is cut short: it has {length} bytes")
        (size,) = _LENGTH.unpack(head)
        if size > MAX_HEADER_BYTES:
            raise PeerError(f"{file} is no safetensors file: its header would have {size} bytes")
        if size > length - _LENGTH.size:
            raise PeerError(f"{file} is cut short: its header alone has {size} bytes, the file {length}")
        text = stream.read(size)
    try:
        header = json.loads(text)
        tensors = {name: _Placed.of(name, entry) for name, entry in dict(header).items() if name != _METADATA}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PeerError(f"{file} is no safetensors file: its header cannot be read ({error})") from error
    _check_placement(file, tensors, length - _LENGTH.size - size)
    return {name: StoredTensor(placed.dtype, placed.shape) for name, placed in tensors.items()}


class _Placed(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @classmethod
    def of(cls, name: str, entry: dict[str, object]) -> "_Placed":
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(offsets, list):
            raise TypeError(f"{name} is described wrongly")
        numbers = [*shape, *offsets]
        if len(offsets) != 2 or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):  # noqa: PLR2004 - begin and end
            raise ValueError(f"{name} has impossible numbers")
        if dtype not in _BITS:
            raise ValueError(f"{name} is of the unknown type {dtype}")
        return cls(dtype, tuple(shape), *offsets)


def _check_placement(file: Path, tensors: dict[str, _Placed], data_bytes: int) -> None:
    """The data lie side by side and fill the file: so a file that was cut short is known by its header."""
    position = 0
    for name, placed in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        wanted = StoredTensor(placed.dtype, placed.shape).elements * _BITS[placed.dtype] // 8
        if placed.begin != position or placed.end - placed.begin != wanted:
            raise PeerError(f"{file} is damaged: the place of {name} does not fit its shape")
        position = placed.end
    if position > data_bytes:
        raise PeerError(
            f"{file} is cut short: {position - data_bytes} bytes of its {position} bytes of tensors are "
            "missing; download it again"
        )
    if position < data_bytes:
        raise PeerError(f"{file} is damaged: {data_bytes - position} bytes follow its tensors")

"""Reads importance matrices: how much each column of a weight matters, as ``llama-imatrix`` writes them.

Both of its formats: GGUF (sums of squares and counts), and the older ``.dat``. llama.cpp itself gets numbers,
no file; so what is wrong with a file is found here. Source: ``common/imatrix-loader.cpp`` and
``load_imatrix`` in ``tools/quantize/quantize.cpp`` of llama-cpp-python 0.3.36.
"""

import hashlib
import math
import mmap
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skerry_controller.errors import PeerError, UsageError, WorldError
from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_header import MAGIC, GgufHeader, TensorInfo, read_gguf_header

_SUMS: Final = ".in_sum2"
_COUNTS: Final = ".counts"
_METADATA: Final = ("imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size")
_INT: Final = struct.Struct("<i")
_MAX_ENTRIES: Final = 65_536
_MAX_NAME_BYTES: Final = 256
_EMBEDDINGS: Final = "token_embd.weight"


@dataclass(frozen=True, slots=True)
class ImportanceMatrix:
    """Importance of each column, by the tensor's name.

    Attributes:
        sha256: Of the file.
        entries: 32-bit floats, for a tensor of experts those of each expert in turn.
    """

    sha256: str
    entries: Mapping[str, "array[float]"]


def read_imatrix(path: Path) -> ImportanceMatrix:
    """Read a file of either format.

    Raises:
        PeerError: It is none, is cut short, or holds what no importance can be.
        UsageError: There is no such file.
        WorldError: The disk refused.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            entries = _from_gguf(data) if data[: len(MAGIC)] == MAGIC else _from_dat(data)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}") from error
    except ModelFileError as error:
        raise PeerError(f"{path} is no importance matrix: {error}") from error
    except ValueError as error:  # what mmap says of an empty file
        raise PeerError(f"{path} is no importance matrix: it is empty") from error
    except OSError as error:
        raise WorldError(f"cannot read {path}: {error.strerror}") from error
    for name, values in entries.items():
        if not all(math.isfinite(value) and value >= 0 for value in values):
            raise PeerError(f"{path} is no importance matrix: {name} has values that are no mean of squares")
    return ImportanceMatrix(sha256, entries)


def check_fit(imatrix: ImportanceMatrix, header: GgufHeader, path: Path) -> tuple[int, int]:
    """Check that an importance matrix is this model's.

    Returns:
        How many of its matrices have an entry, and how many there are.

    Raises:
        PeerError: It was made of another model.
    """
    matrices = [tensor for tensor in header.tensors if _is_matrix(tensor)]
    found = 0
    for tensor in matrices:
        values = imatrix.entries.get(tensor.name)
        if values is None:
            continue
        wanted = tensor.dimensions[0] * (tensor.dimensions[2] if len(tensor.dimensions) > 2 else 1)  # noqa: PLR2004 - experts are the third axis
        if len(values) != wanted and tensor.name != _EMBEDDINGS:  # which llama.cpp passes over
            raise PeerError(
                f"{path} was made of another model: {tensor.name} has {wanted} columns, "
                f"and {len(values)} there"
            )
        found += 1
    if not found:
        raise PeerError(f"{path} was made of another model: it names none of the {len(matrices)} matrices")
    return found, len(matrices)


def _is_matrix(tensor: TensorInfo) -> bool:
    return len(tensor.dimensions) > 1 and tensor.name.endswith("weight")


def _from_gguf(data: mmap.mmap) -> dict[str, "array[float]"]:
    header = read_gguf_header(data)
    if any(key not in header.metadata for key in _METADATA):
        raise ModelFileError(f"it lacks one of {', '.join(_METADATA)} (is it a model?)")
    tensors = {tensor.name: tensor for tensor in header.tensors}
    entries = {}
    for name, tensor in tensors.items():
        if not name.endswith(_SUMS):
            continue
        stem = name.removesuffix(_SUMS)
        counted = tensors.get(stem + _COUNTS)
        if counted is None:
            raise ModelFileError(f"{stem} has sums and no counts")
        sums, counts = _floats(data, tensor), _floats(data, counted)
        if len(sums) % len(counts):
            raise ModelFileError(f"{stem} has {len(sums)} sums for {len(counts)} counts")
        width = len(sums) // len(counts)
        values = array("f")
        for index, count in enumerate(counts):
            part = sums[index * width : (index + 1) * width]
            # What no text ever reached matters as much everywhere.
            values.extend(value / count for value in part) if count > 0 else values.extend([1.0] * width)
        entries[stem] = values
    return entries


def _floats(data: mmap.mmap, tensor: TensorInfo) -> "array[float]":
    if tensor.type.name != "F32":
        raise ModelFileError(f"{tensor.name} is {tensor.type.name}, not F32")
    return array("f", data[tensor.offset : tensor.offset + tensor.length])


def _from_dat(data: mmap.mmap) -> dict[str, "array[float]"]:
    position = 0

    def take(length: int) -> bytes:
        nonlocal position
        if not 0 <= length <= len(data) - position:
            raise ModelFileError("it is cut short, or is something else")
        position += length
        return data[position - length : position]

    def number(least: int, most: int) -> int:
        (value,) = _INT.unpack(take(_INT.size))
        if not least <= value <= most:
            raise ModelFileError(f"it has {value} where {least} to {most} can stand")
        return int(value)

    entries = {}
    for _ in range(number(1, _MAX_ENTRIES)):
        name = take(number(1, _MAX_NAME_BYTES)).decode("utf-8", "replace")
        calls = number(-(2**31), 2**31 - 1)
        sums = array("f", take(4 * number(1, 2**29)))
        entries[name] = array("f", (value / calls for value in sums)) if calls > 0 else sums
    return entries

"""Reads the header of a GGUF file, strictly and within bounds, without building what is not needed.

Source: ``ggml/docs/gguf.md`` for versions 2 and 3, little endian. Where llama.cpp is stricter than that (name
lengths, at most four dimensions), so is this reader. It trusts no count or length from the file: each is held
against what is left of the buffer before anything is allocated or skipped.
"""

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NoReturn, TypeAlias

from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_types import SCALAR_FORMATS, TENSOR_TYPES, TensorType, ValueType

MAGIC: Final = b"GGUF"
SUPPORTED_VERSIONS: Final = (2, 3)
DEFAULT_ALIGNMENT: Final = 32

_FIXED_HEADER: Final = struct.Struct("<4sIQQ")
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_MAX_INT64: Final = 2**63 - 1

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap
Scalar: TypeAlias = int | float | bool | str


@dataclass(frozen=True, slots=True)
class GgufLimits:
    """What a header may ask of its reader. Gemma 3's has 33 entries, 236 tensors and 6.5 MB."""

    max_header_bytes: int = 64 * 1024 * 1024
    max_metadata_entries: int = 4096
    max_tensors: int = 65_536
    max_key_bytes: int = 1024
    max_string_bytes: int = 4 * 1024 * 1024
    max_tensor_name_bytes: int = 63
    max_dimensions: int = 4
    max_alignment_bytes: int = 64 * 1024
    max_inline_array_bytes: int = 4096
    """Arrays up to this size are read as tuples; larger ones stay an ``ArraySpan``."""
    max_trailing_bytes: int = 0
    """Bytes allowed behind the last tensor and its padding."""


@dataclass(frozen=True, slots=True)
class ArraySpan:
    """An array left in the file: ``count`` elements of ``element_type`` in ``length`` bytes at ``offset``."""

    element_type: ValueType
    count: int
    offset: int
    length: int


MetadataValue: TypeAlias = Scalar | tuple[Scalar, ...] | ArraySpan


@dataclass(frozen=True, slots=True)
class MetadataEntry:
    """One key with its value, and the ``length`` bytes at ``offset`` in the file that hold both."""

    key: str
    value_type: ValueType
    value: MetadataValue
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: its data are ``length`` bytes at ``offset``, counted from the start of the file."""

    name: str
    dimensions: tuple[int, ...]
    """Elements along each axis, the contiguous one first (the reverse of numpy's order)."""
    type: TensorType
    offset: int
    length: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return _product(self.dimensions)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What stands before the tensor data. Offsets and lengths are bytes from the start of the file."""

    version: int
    entries: tuple[MetadataEntry, ...]
    tensors: tuple[TensorInfo, ...]
    """In the order of the file's tensor list."""
    alignment: int
    entries_end: int
    """Where the metadata end and the tensor list begins."""
    tensors_end: int
    """Where the tensor list ends; zeros up to ``data_offset`` follow."""
    data_offset: int
    data_end: int
    """Where the last tensor's padding ends, or the file if that comes first."""
    file_length: int
    metadata: Mapping[str, MetadataValue] = field(repr=False)


def read_gguf_header(
    buffer: Buffer, *, file_length: int | None = None, limits: GgufLimits | None = None
) -> GgufHeader:
    """Read the header at the start of ``buffer``.

    Args:
        buffer: The file, or at least its header.
        file_length: Length of the whole file in bytes when ``buffer`` is only its beginning.
        limits: What the header may ask for.

    Raises:
        ModelFileError: The file is not GGUF, is damaged or truncated, or exceeds a limit.
    """
    limits = limits or GgufLimits()
    length = len(buffer) if file_length is None else file_length
    if length < len(buffer):
        raise ValueError(f"file_length {length} is less than the {len(buffer)} bytes given")
    return _HeaderReader(buffer, length, limits).read()


def iterate_strings(buffer: Buffer, span: ArraySpan) -> Iterator[bytes]:
    """Yield the strings of an array that ``read_gguf_header`` found in the same ``buffer``, as raw bytes."""
    if span.element_type is not ValueType.STRING:
        raise ValueError(f"the array holds {span.element_type.name}, not strings")
    position, unpack_from = span.offset, _U64.unpack_from
    for _ in range(span.count):
        start = position + 8
        position = start + unpack_from(buffer, position)[0]
        yield bytes(buffer[start:position])


def _product(numbers: tuple[int, ...]) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


class _HeaderReader:
    """A position in the buffer, and how to read the next thing from it."""

    def __init__(self, buffer: Buffer, file_length: int, limits: GgufLimits) -> None:
        self._buffer = buffer
        self._file_length = file_length
        self._limits = limits
        self._end = min(len(buffer), limits.max_header_bytes)
        self._position = 0

    def read(self) -> GgufHeader:
        version, tensor_count, entry_count = self._read_fixed_header()
        entries = self._read_entries(entry_count)
        entries_end = self._position
        metadata = {entry.key: entry.value for entry in entries}
        alignment = self._alignment(entries)
        infos = self._read_tensor_infos(tensor_count)
        tensors_end = self._position
        data_offset = _aligned(tensors_end, alignment)
        tensors = tuple(
            TensorInfo(name, dimensions, kind, data_offset + offset, length)
            for name, dimensions, kind, offset, length in infos
        )
        data_end = self._check_placement(tensors, data_offset, alignment)
        return GgufHeader(
            version=version,
            entries=entries,
            tensors=tensors,
            alignment=alignment,
            entries_end=entries_end,
            tensors_end=tensors_end,
            data_offset=min(data_offset, self._file_length),
            data_end=data_end,
            file_length=self._file_length,
            metadata=MappingProxyType(metadata),
        )

    # The parts of a header, in the order of the file.

    def _read_fixed_header(self) -> tuple[int, int, int]:
        if self._file_length == 0:
            raise ModelFileError("the file is empty: get the model again")
        magic = bytes(self._buffer[: len(MAGIC)])
        if magic != MAGIC[: len(magic)]:
            raise ModelFileError(
                f"not a GGUF file: it starts with {magic!r}, not {MAGIC!r}; convert the model to GGUF first"
            )
        if self._end < _FIXED_HEADER.size:
            self._truncated("its first 24 bytes")
        _, version, tensor_count, entry_count = _FIXED_HEADER.unpack_from(self._buffer)
        if version and not version & 0xFFFF:
            raise ModelFileError("the GGUF file is big endian; only little endian files are supported")
        if version not in SUPPORTED_VERSIONS:
            raise ModelFileError(
                f"GGUF version {version} is not supported (versions 2 and 3 are): convert the model again"
            )
        self._check_limit("tensors", tensor_count, self._limits.max_tensors)
        self._check_limit("metadata entries", entry_count, self._limits.max_metadata_entries)
        self._position = _FIXED_HEADER.size
        return version, tensor_count, entry_count

    def _read_entries(self, count: int) -> tuple[MetadataEntry, ...]:
        entries: list[MetadataEntry] = []
        seen: set[str] = set()
        for index in range(count):
            start = self._position
            what = f"the key of metadata entry {index + 1} of {count}"
            key = self._read_string(what, self._limits.max_key_bytes)
            if not key or key in seen:
                self._damaged(f"metadata key {key!r} is {'there twice' if key else 'empty'}")
            seen.add(key)
            value_type = self._read_value_type(key)
            value = self._read_value(value_type, key)
            entries.append(MetadataEntry(key, value_type, value, start, self._position - start))
        return tuple(entries)

    def _alignment(self, entries: tuple[MetadataEntry, ...]) -> int:
        entry = next((entry for entry in entries if entry.key == "general.alignment"), None)
        if entry is None:
            return DEFAULT_ALIGNMENT
        value = entry.value
        if entry.value_type is not ValueType.UINT32 or not isinstance(value, int):
            self._damaged("general.alignment is not a 32-bit number")
        if not 0 < value <= self._limits.max_alignment_bytes or value & (value - 1):
            self._damaged(
                f"general.alignment is {value}, not a power of two up to {self._limits.max_alignment_bytes}"
            )
        return value

    def _read_tensor_infos(self, count: int) -> list[tuple[str, tuple[int, ...], TensorType, int, int]]:
        infos = []
        seen: set[str] = set()
        for index in range(count):
            what = f"the name of tensor {index + 1} of {count}"
            name = self._read_string(what, self._limits.max_tensor_name_bytes)
            if not name or name in seen:
                self._damaged(f"tensor name {name!r} is {'there twice' if name else 'empty'}")
            seen.add(name)
            (dimension_count,) = self._unpack(_U32, name)
            if not 1 <= dimension_count <= self._limits.max_dimensions:
                self._damaged(f"tensor {name!r} has {dimension_count} dimensions, not 1 to 4")
            dimensions = self._unpack(struct.Struct(f"<{dimension_count}Q"), name)
            (type_id,) = self._unpack(_U32, name)
            (offset,) = self._unpack(_U64, name)
            kind, length = self._tensor_length(name, dimensions, type_id)
            infos.append((name, dimensions, kind, offset, length))
        return infos

    def _tensor_length(self, name: str, dimensions: tuple[int, ...], type_id: int) -> tuple[TensorType, int]:
        kind = TENSOR_TYPES.get(type_id)
        if kind is None:
            self._damaged(
                f"tensor {name!r} has type {type_id}, which is unknown or was removed from llama.cpp"
            )
        elements = _product(dimensions)
        if not 0 < elements <= _MAX_INT64:
            self._damaged(f"tensor {name!r} has impossible dimensions {dimensions}")
        if dimensions[0] % kind.block_elements:
            self._damaged(
                f"tensor {name!r} of type {kind.name} has rows of {dimensions[0]} elements, "
                f"not a multiple of {kind.block_elements}"
            )
        return kind, elements // kind.block_elements * kind.block_bytes

    def _check_placement(self, tensors: tuple[TensorInfo, ...], data_offset: int, alignment: int) -> int:
        """Check that the tensors lie apart, aligned and inside the file; return where the data end."""
        free_from, before = data_offset, "the header"
        for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
            if (tensor.offset - data_offset) % alignment:
                self._damaged(f"tensor {tensor.name!r} does not start at a multiple of {alignment} bytes")
            if tensor.offset < free_from:
                self._damaged(f"tensor {tensor.name!r} overlaps {before}")
            free_from, before = tensor.offset + tensor.length, f"tensor {tensor.name!r}"
        if tensors and self._file_length < free_from:
            raise ModelFileError(
                f"the model file is truncated: it has {self._file_length} bytes, its tensors need "
                f"{free_from}; get it again"
            )
        data_end = min(_aligned(free_from, alignment), self._file_length)
        if self._file_length - data_end > self._limits.max_trailing_bytes:
            raise ModelFileError(
                f"the model file has {self._file_length} bytes, but its tensors end at {data_end}: "
                "something was appended to it; get it again"
            )
        return data_end

    # Single values.

    def _read_value_type(self, key: str) -> ValueType:
        (number,) = self._unpack(_U32, key)
        try:
            return ValueType(number)
        except ValueError:
            self._damaged(f"metadata {key!r} has value type {number}, which does not exist")

    def _read_value(self, value_type: ValueType, key: str) -> MetadataValue:
        if value_type is ValueType.ARRAY:
            return self._read_array(key)
        return self._read_scalar(value_type, key)

    def _read_scalar(self, value_type: ValueType, key: str) -> Scalar:
        if value_type is ValueType.STRING:
            return self._read_string(f"metadata {key!r}", self._limits.max_string_bytes)
        (value,) = self._unpack(struct.Struct("<" + SCALAR_FORMATS[value_type]), key)
        return self._boolean(value, key) if value_type is ValueType.BOOL else value

    def _boolean(self, value: int, key: str) -> bool:
        if value > 1:
            self._damaged(f"metadata {key!r} is neither true nor false but {value}")
        return bool(value)

    def _read_array(self, key: str) -> tuple[Scalar, ...] | ArraySpan:
        element_type = self._read_value_type(key)
        (count,) = self._unpack(_U64, key)
        if element_type is ValueType.ARRAY:
            self._damaged(f"metadata {key!r} is an array of arrays, which llama.cpp does not read")
        start = self._position
        if element_type is ValueType.STRING:
            self._skip_strings(count, key)
        else:
            size = struct.calcsize("<" + SCALAR_FORMATS[element_type])
            self._need(count * size, f"metadata {key!r} ({count} values)")
            self._position += count * size
        length = self._position - start
        if length > self._limits.max_inline_array_bytes:
            return ArraySpan(element_type, count, start, length)
        self._position = start
        return tuple(self._read_scalar(element_type, key) for _ in range(count))

    def _skip_strings(self, count: int, key: str) -> None:
        """Step over ``count`` strings. A vocabulary has 262,144: the loop does nothing that it need not."""
        buffer, end, longest = self._buffer, self._end, self._limits.max_string_bytes
        position, size = self._position, _U64.size
        what = f"metadata {key!r} ({count} strings)"
        self._need(count * size, what)
        unpack_from = _U64.unpack_from
        for _ in range(count):
            if position + size > end:
                self._truncated(what)
            length = unpack_from(buffer, position)[0]
            if length > longest:
                self._check_limit(f"bytes in a string of metadata {key!r}", length, longest)
            position += size + length
        if position > end:
            self._truncated(what)
        self._position = position

    def _read_string(self, what: str, max_bytes: int) -> str:
        (length,) = self._unpack(_U64, what)
        self._check_limit(f"bytes in {what}", length, max_bytes)
        self._need(length, what)
        data = bytes(self._buffer[self._position : self._position + length])
        self._position += length
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ModelFileError(
                f"the GGUF header is damaged: {what} is not UTF-8; get the file again"
            ) from error

    def _unpack(self, layout: struct.Struct, what: str) -> tuple[int, ...]:
        self._need(layout.size, what)
        values = layout.unpack_from(self._buffer, self._position)
        self._position += layout.size
        return values

    # Refusals.

    def _need(self, size: int, what: str) -> None:
        if self._position + size > self._end:
            self._truncated(what)

    def _truncated(self, what: str) -> NoReturn:
        if self._end == self._limits.max_header_bytes:
            raise ModelFileError(
                f"the GGUF header is larger than {self._limits.max_header_bytes} bytes at {what}: "
                "it is damaged, or max_header_bytes is too small for this model"
            )
        raise ModelFileError(
            f"the GGUF header is truncated or damaged: {what} goes beyond the {self._end} bytes that are "
            "there; get the file again"
        )

    def _check_limit(self, what: str, value: int, limit: int) -> None:
        if value > limit:
            self._damaged(f"{value} {what}, where at most {limit} are allowed")

    def _damaged(self, reason: str) -> NoReturn:
        raise ModelFileError(f"the GGUF header is damaged: {reason}; get the file again")

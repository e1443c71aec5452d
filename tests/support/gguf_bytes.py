"""GGUF files built by hand, so that a test can make one that no honest writer would."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
F32 = 0


def string(text: str | bytes) -> bytes:
    """A GGUF string: its length, then its bytes."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def entry(key: str | bytes, value_type: int, value: bytes) -> bytes:
    """A metadata entry with its value already encoded."""
    return string(key) + struct.pack("<I", value_type) + value


def text_entry(key: str, text: str | bytes) -> bytes:
    return entry(key, STRING, string(text))


def number_entry(key: str, number: int) -> bytes:
    return entry(key, UINT32, struct.pack("<I", number))


def float_entry(key: str, number: float) -> bytes:
    return entry(key, FLOAT32, struct.pack("<f", number))


def strings_entry(key: str, texts: Sequence[str | bytes]) -> bytes:
    head = struct.pack("<IQ", STRING, len(texts))
    return entry(key, ARRAY, head + b"".join(string(text) for text in texts))


def numbers_entry(key: str, numbers: Sequence[int]) -> bytes:
    return entry(key, ARRAY, struct.pack(f"<IQ{len(numbers)}I", UINT32, len(numbers), *numbers))


@dataclass(frozen=True)
class Tensor:
    """A tensor as the list describes it, and the bytes that really stand there."""

    name: str | bytes
    data: bytes = b"\1" * 128
    dimensions: tuple[int, ...] | None = None
    """None: as many F32 elements as ``data`` holds."""
    type: int = F32
    offset: int | None = None
    """None: right behind the tensor before."""


@dataclass(frozen=True)
class GgufBytes:
    """A file in parts; ``build`` joins them."""

    entries: Sequence[bytes] = ()
    tensors: Sequence[Tensor] = ()
    version: int = 3
    magic: bytes = b"GGUF"
    alignment: int = 32
    entry_count: int | None = None
    tensor_count: int | None = None
    trailing: bytes = field(default=b"", repr=False)

    def build(self) -> bytes:
        """The file."""
        infos, data = b"", b""
        for tensor in self.tensors:
            offset = len(data) if tensor.offset is None else tensor.offset
            dimensions = tensor.dimensions or (len(tensor.data) // 4,)
            infos += string(tensor.name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
            infos += struct.pack("<IQ", tensor.type, offset)
            data += self._padded(tensor.data)
        entry_count = len(self.entries) if self.entry_count is None else self.entry_count
        tensor_count = len(self.tensors) if self.tensor_count is None else self.tensor_count
        fixed = self.magic + struct.pack("<IQQ", self.version, tensor_count, entry_count)
        return self._padded(fixed + b"".join(self.entries) + infos) + data + self.trailing

    def _padded(self, data: bytes) -> bytes:
        return data + bytes(-len(data) % self.alignment)

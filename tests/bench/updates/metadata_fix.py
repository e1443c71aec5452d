"""A GGUF file with another metadata entry: all that stands behind it moves, no tensor changes."""

import struct
from typing import Final

from skerry_protocol.gguf_header import GgufHeader

TEMPLATE_KEY: Final = "tokenizer.chat_template"
_STRING: Final = 8
_ENTRY_COUNT_AT: Final = 16
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")


def with_entry(file: memoryview, header: GgufHeader, key: str, text: str) -> list[bytes | memoryview]:
    """The parts of the new file in order: the entry is replaced, or added at the end.

    Args:
        file: The whole old file.
        header: What ``read_gguf_header`` read from it.
        key: Which entry.
        text: Its new value.
    """
    old = next((entry for entry in header.entries if entry.key == key), None)
    start, end = (old.offset, old.offset + old.length) if old else (header.entries_end, header.entries_end)
    count = len(header.entries) + (old is None)
    entry = string_entry(key, text)
    head: list[bytes | memoryview] = [
        file[:_ENTRY_COUNT_AT],
        _U64.pack(count),
        file[_ENTRY_COUNT_AT + _U64.size : start],
        entry,
        file[end : header.tensors_end],
    ]
    length = sum(len(part) for part in head)
    padding = -length % header.alignment
    return [*head, bytes(padding), file[header.data_offset :]]


def string_entry(key: str, text: str) -> bytes:
    """A metadata entry with a string."""
    return _string(key) + _U32.pack(_STRING) + _string(text)


def _string(text: str) -> bytes:
    data = text.encode()
    return _U64.pack(len(data)) + data

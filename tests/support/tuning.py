"""A model that another was tuned to: every tensor moved a little."""

from pathlib import Path

from skerry_protocol.gguf_header import read_gguf_header
from support.dice import dice


def tuned(data: bytes, *, seed: int = 1, every: int = 160) -> bytes:
    """The bytes of a model of the same shape, with one byte of so many changed by one."""
    source = dice(seed)
    out = bytearray(data)
    for tensor in read_gguf_header(data).tensors:
        for position in range(tensor.offset, tensor.offset + tensor.length, every):
            out[position] = (out[position] + source.choice((1, 255))) % 256
    return bytes(out)


def tuned_file(file: Path, name: str) -> Path:
    """The same as a file beside the other."""
    other = file.with_name(name)
    other.write_bytes(tuned(file.read_bytes()))
    return other

"""What llama.cpp's quantizer says while it works, read line by line.

It has no other way to tell which type each tensor gets, which ones cannot get the type that was asked for,
and why it gave up. Source: ``src/llama-quant.cpp`` of llama-cpp-python 0.3.36.
"""

import re
from typing import Final

import msgspec

from skerry_protocol.gguf_types import TENSOR_TYPES


class TensorPlan(msgspec.Struct, frozen=True):
    """What becomes of a tensor."""

    name: str
    elements: int
    old: str
    new: str

    @property
    def new_bytes(self) -> int:
        """Of its data, without padding."""
        return tensor_bytes(self.elements, self.new)


class Fallback(msgspec.Struct, frozen=True):
    """A tensor whose rows do not divide into the blocks of the type that it should have had."""

    tensor: str
    row: int
    block: int
    wanted: str
    got: str


class Said(msgspec.Struct, frozen=True):
    """What a log tells."""

    tensors: tuple[TensorPlan, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    needs_imatrix: bool = False
    failure: str | None = None


_TYPES_BY_NAME: Final = {kind.name: kind for kind in TENSOR_TYPES.values()}
_TENSOR = re.compile(
    r"^\[ *\d+/ *\d+\] (?P<name>\S+) +- \[(?P<shape>[\d, ]+)\], type = +(?P<old>\w+), "
    r"size = [^(\n]*(?:\((?P<new>\w+)\))?$",
    re.MULTILINE,
)
_FALLBACK = re.compile(
    r"warning: (?P<tensor>\S+) +- ncols +(?P<row>\d+) not divisible by +(?P<block>\d+) "
    r"\(required for type +(?P<wanted>\w+)\).*-> falling back to +(?P<got>\w+)"
)
_NEEDS_IMATRIX: Final = ("will require an imatrix", "requires an imatrix", "Missing importance matrix")
_FAILURE = re.compile(r"failed to quantize: *(.*)")


def read_log(text: str) -> Said:
    """Read the log of a dry run, or of a real one (which names no new types in one piece)."""
    failure = _FAILURE.search(text)
    return Said(
        tensors=tuple(_tensor(found) for found in _TENSOR.finditer(text)),
        fallbacks=tuple(_fallback(found) for found in _FALLBACK.finditer(text)),
        needs_imatrix=any(words in text for words in _NEEDS_IMATRIX),
        failure=failure[1].strip() if failure else None,
    )


def tensor_bytes(elements: int, kind: str) -> int:
    """Bytes of so many elements of a type."""
    found = _TYPES_BY_NAME[kind]
    return elements // found.block_elements * found.block_bytes


def _tensor(found: re.Match[str]) -> TensorPlan:
    elements = 1
    for axis in found["shape"].split(","):
        elements *= int(axis)
    old = found["old"].upper()
    return TensorPlan(found["name"], elements, old, (found["new"] or old).upper())


def _fallback(found: re.Match[str]) -> Fallback:
    return Fallback(
        found["tensor"],
        int(found["row"]),
        int(found["block"]),
        found["wanted"].upper(),
        found["got"].upper(),
    )

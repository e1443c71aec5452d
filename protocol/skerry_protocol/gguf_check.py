"""Refuses model headers on which llama.cpp would abort, hang or say nothing, and gives the reason.

llama.cpp checks most of a header by itself and fails politely; on some values it calls ``abort()``. They were
found by trying edge values on a tiny model in child processes (``tests/integration/gguf`` does so again) with
the llama.cpp of llama-cpp-python 0.3.36. What llama.cpp refuses politely is left to it, except where a person
is better served here.
"""

import math
from typing import Final, NoReturn

from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_header import (
    ArraySpan,
    Buffer,
    GgufHeader,
    GgufLimits,
    MetadataValue,
    Scalar,
    read_gguf_header,
)
from skerry_protocol.gguf_vocabulary import check_vocabulary

MAX_BLOCKS: Final = 512
"""``LLAMA_MAX_LAYERS``: one more aborts."""
MAX_EXPERTS: Final = 512
"""``LLAMA_MAX_EXPERTS``: one more aborts."""
MAX_CONTEXT_TOKENS: Final = 2**24
"""Far above any real model; around 2**31 loading hangs or overflows."""
MAX_WIDTH: Final = 2**20
"""Far above the embedding, feed-forward and head sizes of any real model."""
MAX_EPSILON: Final = 1.0

ROPE_SCALING_TYPES: Final = frozenset({"none", "linear", "yarn", "longrope"})
RECURRENT_ARCHITECTURES: Final = frozenset(
    {"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7", "wavtokenizer-dec"}
)
"""These have no attention, hence no heads."""
HYBRID_ARCHITECTURES: Final = frozenset(
    {
        "deci",
        "falcon-h1",
        "granitehybrid",
        "jamba",
        "kimi-linear",
        "lfm2",
        "lfm2moe",
        "nemotron_h",
        "nemotron_h_moe",
        "plamo2",
        "plamo3",
        "qwen35",
        "qwen35moe",
        "qwen3next",
    }
)
"""Some of their blocks have no attention: 0 is a valid number of heads for a block."""


def read_model_header(
    buffer: Buffer, *, file_length: int | None = None, limits: GgufLimits | None = None
) -> GgufHeader:
    """Read the header of a model and run all checks: what an import or a publication calls.

    Args:
        buffer: The file, or at least its header.
        file_length: Length of the whole file in bytes when ``buffer`` is only its beginning.
        limits: What the header may ask for.

    Raises:
        ModelFileError: The file is not GGUF, is damaged, or would make llama.cpp abort.
    """
    header = read_gguf_header(buffer, file_length=file_length, limits=limits)
    check_model_header(header)
    check_vocabulary(header, buffer)
    return header


def check_model_header(header: GgufHeader) -> None:
    """Check that ``header`` is that of a model that llama.cpp survives.

    Raises:
        ModelFileError: It is not; the message names the key and the value.
    """
    kind = header.metadata.get("general.type", "model")
    if kind != "model":
        raise ModelFileError(f"the GGUF file is not a model but of type {kind!r}: give the model file itself")
    architecture = header.metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise ModelFileError("the GGUF file has no general.architecture: convert the model again")
    parts = header.metadata.get("split.count", 0)
    if not isinstance(parts, int) or parts > 1:
        raise ModelFileError(
            f"the GGUF file is one part of {parts}: join them first with llama-gguf-split --merge"
        )
    values = _Hyperparameters(header, architecture)
    _check_sizes(values)
    _check_heads(values, architecture)
    _check_experts(values)
    _check_numbers(values)
    check_placement(header)


class _Hyperparameters:
    """The metadata below the architecture's prefix, with their types checked as they are read."""

    def __init__(self, header: GgufHeader, architecture: str) -> None:
        self.header = header
        self._prefix = architecture + "."

    def integer(self, name: str, *, least: int, most: int, required: bool = False) -> int | None:
        """The value of a key that must be a whole number in a range."""
        values = self.integers(name, least=least, most=most, required=required)
        if values is None:
            return None
        if len(values) != 1:
            self.refuse(name, f"{len(values)} values", "one number")
        return values[0]

    def integers(self, name: str, *, least: int, most: int, required: bool = False) -> tuple[int, ...] | None:
        """The values of a key that holds one number, or one for each block."""
        value = self.get(name)
        if value is None:
            if required:
                raise ModelFileError(f"the GGUF header lacks {self._prefix}{name}: convert the model again")
            return None
        if isinstance(value, ArraySpan):
            self.refuse(name, f"{value.count} values", "fewer")
        values: tuple[Scalar, ...] = value if isinstance(value, tuple) else (value,)
        checked = []
        for number in values:
            if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
                self.refuse(name, repr(number), f"a number from {least} to {most}")
            checked.append(number)
        return tuple(checked)

    def get(self, name: str) -> MetadataValue | None:
        """The value of a key, or None."""
        return self.header.metadata.get(self._prefix + name)

    def floats(self) -> list[tuple[str, float]]:
        """All single floating-point values with their names."""
        return [
            (entry.key.removeprefix(self._prefix), entry.value)
            for entry in self.header.entries
            if entry.key.startswith(self._prefix) and isinstance(entry.value, float)
        ]

    def refuse(self, name: str, found: str, wanted: str) -> NoReturn:
        """Raise the error for a value that is not allowed."""
        raise ModelFileError(
            f"the GGUF header has {self._prefix}{name} = {found}, which must be {wanted}: llama.cpp would "
            "fail on it; convert the model again"
        )


def _check_sizes(values: _Hyperparameters) -> None:
    blocks = values.integer("block_count", least=1, most=MAX_BLOCKS, required=True)
    values.integer("context_length", least=1, most=MAX_CONTEXT_TOKENS, required=True)
    values.integer("embedding_length", least=1, most=MAX_WIDTH, required=True)
    values.integers("feed_forward_length", least=0, most=MAX_WIDTH)
    values.integer("rope.dimension_count", least=0, most=MAX_WIDTH)
    if blocks is not None:
        values.integer("nextn_predict_layers", least=0, most=blocks - 1)


def _check_heads(values: _Hyperparameters, architecture: str) -> None:
    if architecture in RECURRENT_ARCHITECTURES:
        return
    least = 0 if architecture in HYBRID_ARCHITECTURES else 1
    heads = values.integers("attention.head_count", least=least, most=MAX_WIDTH, required=True)
    for name in ("attention.key_length", "attention.value_length"):
        values.integer(name, least=1, most=MAX_WIDTH)
    kv_heads = values.integers("attention.head_count_kv", least=least, most=MAX_WIDTH)
    if heads is None or kv_heads is None:
        return
    per_block = max(len(heads), len(kv_heads))
    for mine, shared in zip(_spread(heads, per_block), _spread(kv_heads, per_block), strict=False):
        if shared and (shared > mine or mine % shared):
            values.refuse("attention.head_count_kv", str(shared), f"a divisor of the head count {mine}")


def _spread(values: tuple[int, ...], count: int) -> tuple[int, ...]:
    return values * count if len(values) == 1 else values


def _check_experts(values: _Hyperparameters) -> None:
    experts = values.integer("expert_count", least=0, most=MAX_EXPERTS) or 0
    used = values.integer("expert_used_count", least=0, most=MAX_EXPERTS) or 0
    if used > experts or (experts and not used):
        wanted = f"a number from 1 to the expert count {experts}" if experts else "0, as there are no experts"
        values.refuse("expert_used_count", str(used), wanted)


def _check_numbers(values: _Hyperparameters) -> None:
    for name, number in values.floats():
        if not math.isfinite(number):
            values.refuse(name, str(number), "a finite number")
        if name.endswith("_epsilon") and not 0 < number <= MAX_EPSILON:
            values.refuse(name, str(number), f"above 0 and at most {MAX_EPSILON}")
        if name.startswith("rope.freq_base") and number <= 0:
            values.refuse(name, str(number), "above 0")
    scaling = values.get("rope.scaling.type")
    if scaling is not None and scaling not in ROPE_SCALING_TYPES:
        values.refuse("rope.scaling.type", repr(scaling), f"one of {', '.join(sorted(ROPE_SCALING_TYPES))}")


def check_placement(header: GgufHeader) -> None:
    """Check that there are weights, and that they are packed as llama.cpp wants: in order, without gaps."""
    if not header.tensors:
        raise ModelFileError("the GGUF file holds no tensors (a vocabulary only?): give the whole model")
    expected = header.data_offset
    for tensor in header.tensors:
        if tensor.offset != expected:
            raise ModelFileError(
                f"the GGUF file has tensor {tensor.name!r} at byte {tensor.offset} instead of {expected}, "
                "which llama.cpp does not read; convert the model again"
            )
        expected += -(-tensor.length // header.alignment) * header.alignment

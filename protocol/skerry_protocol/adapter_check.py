"""Refuses adapter files on which llama.cpp would abort or say nothing, and those that do not fit their base.

llama.cpp looks at architecture, names and most shapes when it loads an adapter. What it takes for granted
ends the process: metadata of another type at once; a matrix with further dimensions, or of a type that cannot
be multiplied, and embeddings that the base also uses as its output, in the first step that uses them.
Sources: ``llama-adapter.cpp`` (loading) and ``build_lora_mm``, ``build_inp_embd`` in ``llama-graph.cpp``
(use) of the llama.cpp of llama-cpp-python 0.3.36; ``tests/integration/gguf`` tries both in child processes.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_check import check_placement
from skerry_protocol.gguf_header import Buffer, GgufHeader, GgufLimits, TensorInfo, read_gguf_header

MAX_RANK: Final = 4096
"""Far above the rank of any real adapter."""
MAX_ALPHA: Final = 1e6
MULTIPLIED_TYPES: Final = frozenset({"F32", "F16", "BF16", "Q8_0"})
EMBEDDINGS: Final = "token_embd.weight"
OUTPUT: Final = "output.weight"
INVOCATION_TOKENS: Final = "adapter.alora.invocation_tokens"
_A, _B = ".lora_a", ".lora_b"
_IGNORED: Final = "_norm.weight"
"""llama.cpp skips these: it adds no vectors."""
_EXPERTS_DIMENSION: Final = 2


class LoraPair(NamedTuple):
    """The two matrices whose product is added to one of the base's, which has the name ``target``."""

    target: str
    a: TensorInfo
    b: TensorInfo


class AdapterDescription(msgspec.Struct, frozen=True):
    """What an adapter is, from its header."""

    architecture: str
    name: str | None
    licence: str | None
    """``general.license`` as it stands in the file."""
    rank: int
    """The largest of all pairs."""
    alpha: float
    """Scales the product by alpha / rank; 0 leaves it as it is."""
    parameters: int
    matrices: int
    """How many of the base's matrices it changes."""
    weights_bytes: int
    """Held in memory besides the base."""

    def to_manifest(self) -> dict[str, str | int | float | bool | None]:
        """The fields as the ``description`` of a manifest."""
        return msgspec.structs.asdict(self)


def is_adapter(header: GgufHeader) -> bool:
    """Whether the file says of itself that it is an adapter."""
    return header.metadata.get("general.type") == "adapter"


def read_adapter_header(
    buffer: Buffer, *, file_length: int | None = None, limits: GgufLimits | None = None
) -> GgufHeader:
    """Read the header of an adapter and run all checks that need no base.

    Args:
        buffer: The file, or at least its header.
        file_length: Length of the whole file in bytes when ``buffer`` is only its beginning.
        limits: What the header may ask for.

    Raises:
        ModelFileError: The file is not GGUF, is damaged, is no LoRA adapter, or would make llama.cpp abort.
    """
    header = read_gguf_header(buffer, file_length=file_length, limits=limits)
    check_adapter_header(header)
    return header


def check_adapter_header(header: GgufHeader) -> None:
    """Check that ``header`` is that of a LoRA adapter whose matrices belong together.

    Raises:
        ModelFileError: It is not; the message names the key or the tensor.
    """
    kind = header.metadata.get("general.type", "model")
    if kind != "adapter":
        raise ModelFileError(
            f"the GGUF file is not an adapter but of type {kind!r}: give the adapter file itself"
        )
    form = header.metadata.get("adapter.type")
    if form != "lora":
        raise ModelFileError(f"the adapter is of type {form!r}: only LoRA adapters can be used")
    architecture = header.metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise ModelFileError("the adapter has no general.architecture: convert it again")
    if INVOCATION_TOKENS in header.metadata:
        raise ModelFileError(
            "the adapter works from certain tokens of a prompt on (aLoRA), which is not supported: "
            "train it as a plain LoRA"
        )
    alpha = _alpha(header)
    if alpha is None or not math.isfinite(alpha) or abs(alpha) > MAX_ALPHA:
        raise ModelFileError(
            f"the adapter has adapter.lora.alpha = {alpha}, which must be a 32-bit number up to {MAX_ALPHA:g}"
        )
    check_placement(header)
    for pair in lora_pairs(header):
        _check_pair(pair)


def lora_pairs(header: GgufHeader) -> tuple[LoraPair, ...]:
    """The pairs of an adapter, by the name of what they change.

    Raises:
        ModelFileError: A tensor is no part of a pair, or there are none.
    """
    halves: dict[str, dict[str, TensorInfo]] = {}
    for tensor in header.tensors:
        target, half = tensor.name[: -len(_A)], tensor.name[-len(_A) :]
        if half in (_A, _B):
            halves.setdefault(target, {})[half] = tensor
        elif not tensor.name.endswith(_IGNORED):
            raise ModelFileError(
                f"the adapter has tensor {tensor.name!r}, which is neither {_A} nor {_B}: convert it again"
            )
    for target, found in halves.items():
        if len(found) != len((_A, _B)):
            missing = _B if _A in found else _A
            raise ModelFileError(f"the adapter has no {target}{missing}: convert it again")
    if not halves:
        raise ModelFileError("the adapter holds no LoRA matrices: give the whole adapter")
    return tuple(LoraPair(target, found[_A], found[_B]) for target, found in sorted(halves.items()))


def check_adapter_fits(adapter: GgufHeader, base: GgufHeader) -> None:
    """Check that an adapter, itself checked, was made for a model of this shape.

    Raises:
        ModelFileError: It was not; the message names the first thing that differs.
    """
    mine = adapter.metadata.get("general.architecture")
    theirs = base.metadata.get("general.architecture")
    if mine != theirs:
        raise ModelFileError(f"the adapter is for the architecture {mine!r}, its base is {theirs!r}")
    tensors = {tensor.name: tensor for tensor in base.tensors}
    for pair in lora_pairs(adapter):
        _check_target(pair, tensors)


def describe_adapter(header: GgufHeader) -> AdapterDescription:
    """Describe an adapter whose header was checked."""
    pairs = lora_pairs(header)
    tensors = [tensor for pair in pairs for tensor in (pair.a, pair.b)]
    return AdapterDescription(
        architecture=_text(header, "general.architecture") or "",
        name=_text(header, "general.name"),
        licence=_text(header, "general.license"),
        rank=max(_rank(pair) for pair in pairs),
        alpha=_alpha(header) or 0.0,
        parameters=sum(tensor.elements for tensor in tensors),
        matrices=len(pairs),
        weights_bytes=sum(tensor.length for tensor in tensors),
    )


def _alpha(header: GgufHeader) -> float | None:
    """None when it is there and not a 32-bit float, on which llama.cpp aborts."""
    for entry in header.entries:
        if entry.key == "adapter.lora.alpha":
            is_float = entry.value_type.name == "FLOAT32" and isinstance(entry.value, float)
            return entry.value if is_float and isinstance(entry.value, float) else None
    return 0.0


def _rank(pair: LoraPair) -> int:
    return pair.b.dimensions[0]


def _check_pair(pair: LoraPair) -> None:
    for tensor in (pair.a, pair.b):
        if tensor.type.name not in MULTIPLIED_TYPES:
            raise ModelFileError(
                f"the adapter has {tensor.name!r} as {tensor.type.name}: convert it again as one of "
                f"{', '.join(sorted(MULTIPLIED_TYPES))}"
            )
    a, b = _shape(pair.a), _shape(pair.b)
    # Of embeddings the rows of A are looked up, so that A lies the other way.
    inner = a[0] if pair.target == EMBEDDINGS else a[1]
    if inner != b[0] or not 0 < b[0] <= MAX_RANK or a[2:] != b[2:]:
        raise ModelFileError(
            f"the adapter's matrices for {pair.target!r} are {_shown(pair.a)} and {_shown(pair.b)}: they "
            "have no rank in common; convert it again"
        )


def _check_target(pair: LoraPair, tensors: Mapping[str, TensorInfo]) -> None:
    target = tensors.get(pair.target)
    if target is None:
        raise ModelFileError(f"the adapter changes {pair.target!r}, which its base does not have")
    shape, a, b = _shape(target), _shape(pair.a), _shape(pair.b)
    # llama.cpp's own order of axes: a matrix has its inputs first, then its outputs, then its experts.
    ends = (b[1], a[1]) if pair.target == EMBEDDINGS else (a[0], b[1])
    if (*ends, *a[_EXPERTS_DIMENSION:]) != shape or shape[3] != 1 or len(target.dimensions) == 1:
        raise ModelFileError(
            f"the adapter changes {pair.target!r} with {_shown(pair.a)} and {_shown(pair.b)}, but the base "
            f"has {_shown(target)} there: it was made for another model"
        )
    if pair.target == EMBEDDINGS and OUTPUT not in tensors:
        # The same matrix is the output layer there, and llama.cpp would multiply with A the wrong way round.
        raise ModelFileError(
            f"the adapter changes {EMBEDDINGS!r}, which its base uses for its output too: llama.cpp fails on "
            "that; train it without the embeddings"
        )


def _shape(tensor: TensorInfo) -> tuple[int, int, int, int]:
    first, second, third, fourth = (*tensor.dimensions, 1, 1, 1)[:4]
    return first, second, third, fourth


def _shown(tensor: TensorInfo) -> str:
    return "x".join(str(size) for size in tensor.dimensions)


def _text(header: GgufHeader, key: str) -> str | None:
    value = header.metadata.get(key)
    return value if isinstance(value, str) and value else None

"""What a quantization will make of a model: its size, the types that are really inside, what to know."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from skerry_controller.errors import UsageError
from skerry_controller.workshop.library import Entry
from skerry_controller.workshop.quantizing.llama_log import Fallback, TensorPlan
from skerry_controller.workshop.quantizing.types import QuantizationType
from skerry_protocol.gguf_header import GgufHeader
from skerry_protocol.gguf_types import WHOLE_TYPES

_OUTPUT = "output.weight"
_TRAINED_TERNARY = re.compile(r"bitnet|ternary|trilm|(?<![0-9.])1[._]58", re.IGNORECASE)
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcome of a dry run.

    Attributes:
        kind: What was asked for.
        old_length: Bytes of the parent's file.
        new_length: Bytes of the result, to within a few metadata.
        tensor_types: Tensors by the type that they will have.
        warnings: What a reader of figures has to know.
    """

    kind: QuantizationType
    old_length: int
    new_length: int
    tensor_types: dict[str, int]
    warnings: tuple[str, ...]


def make_plan(
    entry: Entry,
    header: GgufHeader,
    kind: QuantizationType,
    tensors: Sequence[TensorPlan],
    fallbacks: Sequence[Fallback],
    *,
    keep_output: bool = False,
    force: bool = False,
) -> Plan:
    """Judge what llama.cpp would do.

    Args:
        entry: The parent.
        header: Of its file.
        kind: What it shall become.
        tensors: What would become of each tensor.
        fallbacks: Those whose rows do not fit.
        keep_output: Whether the output layer was to stay.
        force: Quantize even to what is not lower.

    Raises:
        UsageError: Nothing would be gained; the message gives the sizes.
    """
    new_length = header.data_offset + sum(
        -(-tensor.new_bytes // header.alignment) * header.alignment for tensor in tensors
    )
    quantized = _quantized(tensors)
    if not force:
        _check_lower(entry, kind, tensors, new_length, quantized)
    warnings = [
        *_about_parent(entry, kind, quantized, larger=new_length > entry.length),
        *_about_fallbacks(kind, tensors, fallbacks),
        *_about_training(entry, header, kind),
    ]
    if keep_output and all(tensor.name != _OUTPUT for tensor in tensors):
        warnings.append("there is no output layer to keep: its token embeddings serve as one")
    counted = Counter(tensor.new for tensor in tensors)
    return Plan(kind, entry.length, new_length, dict(counted.most_common()), tuple(warnings))


def _quantized(tensors: Sequence[TensorPlan]) -> str | None:
    """The quantized type that most of the parent's weights have; None when none has one."""
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        if tensor.old not in WHOLE_TYPES:
            sizes[tensor.old] += tensor.elements
    return sizes.most_common(1)[0][0] if sizes else None


def _check_lower(
    entry: Entry,
    kind: QuantizationType,
    tensors: Sequence[TensorPlan],
    new_length: int,
    quantized: str | None,
) -> None:
    if all(tensor.new == tensor.old for tensor in tensors):
        raise UsageError(f"{entry.ref} is {kind.name} already: no tensor would change")
    if quantized is None and new_length <= entry.length:  # F16 to BF16 is as large, and another thing
        return
    if new_length >= entry.length:
        raise UsageError(
            f"{entry.ref} holds {quantized or entry.description.quantization}, and {kind.name} would not be "
            f"lower: {new_length / _MIB:.1f} MiB after {entry.length / _MIB:.1f} MiB, and what was lost does "
            "not come back. Quantize from its F16 original, or give --force if you want the format itself"
        )


def _about_parent(entry: Entry, kind: QuantizationType, quantized: str | None, *, larger: bool) -> list[str]:
    warnings = []
    if quantized is not None:
        warnings.append(
            f"the parent {entry.ref} is quantized already ({entry.description.quantization}, mostly "
            f"{quantized} inside): this one has both losses, and figures against that parent show only the "
            "second"
        )
    if larger:
        warnings.append(f"{kind.name} is larger than what it was made of, and no better")
    return warnings


def _about_fallbacks(
    kind: QuantizationType, tensors: Sequence[TensorPlan], fallbacks: Sequence[Fallback]
) -> list[str]:
    groups = Counter((each.row, each.block, each.wanted, each.got) for each in fallbacks)
    if not groups:
        return []
    matrices = sum(tensor.new not in WHOLE_TYPES or tensor.new != tensor.old for tensor in tensors)
    parts = [
        f"{count} became {got} instead of {wanted} (rows of {row} do not divide by {block})"
        for (row, block, wanted, got), count in groups.most_common()
    ]
    inside = Counter(tensor.new for tensor in tensors if tensor.new not in WHOLE_TYPES)
    shown = ", ".join(f"{count} {name}" for name, count in inside.most_common())
    return [f"not all {kind.name}: of {matrices} matrices {'; '.join(parts)}. Really inside: {shown}"]


def _about_training(entry: Entry, header: GgufHeader, kind: QuantizationType) -> list[str]:
    named = " ".join(
        str(header.metadata.get(key, ""))
        for key in ("general.architecture", "general.name", "general.basename", "general.finetune")
    )
    if not kind.ternary or _TRAINED_TERNARY.search(f"{named} {entry.name} {entry.family}"):
        return []
    warning = (
        f"{kind.name} is for models that were trained with ternary weights (BitNet): nothing says that "
        f"{entry.ref} was; expect nonsense until its figures say otherwise"
    )
    return [warning]

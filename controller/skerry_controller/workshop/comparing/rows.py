"""One line of a comparison: what an entry is, and what was measured of it. Pure."""

from collections.abc import Mapping

import msgspec

from skerry_controller.workshop.comparing.reading import (
    Reading,
    Subject,
    generation_speed,
    least,
    memory_points,
    newest,
    prompt_speed,
)
from skerry_controller.workshop.comparing.rules_of_thumb import bits_per_weight, memory_by_rule
from skerry_controller.workshop.library import Entry
from skerry_protocol.gguf_types import WHOLE_TYPES


class Original(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a size is compared with.

    Attributes:
        ref: The furthest ancestor in the library, if it is whole; else None, and 16 bits a weight.
        root: The furthest ancestor, also a quantized one, or the entry itself.
        length: Bytes.
        quantization: Its own.
    """

    ref: str | None
    root: str
    length: int
    quantization: str


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry beside the others. Sizes in bytes; figures are None where nothing was measured.

    Attributes:
        ref: ``NAME@VERSION``.
        family: As in the library.
        parameters: Number of weights.
        quantization: As the file says.
        length: Of the file.
        original: What ``share_of_original`` is of.
        share_of_original: Of the size, 1 is as large.
        bits_per_weight: Of the tensors.
        context_length: That it was trained for, in tokens.
        generation: Tokens a second.
        prompt: Tokens of a prompt a second.
        first_token: Milliseconds.
        load_cold: Milliseconds.
        energy: Joules a token.
        memory: Resident bytes at the shortest context that was measured.
        predicted_memory_bytes: Of an agent's runner at that context (2,048 tokens without a measurement).
        memory_by_rule_bytes: By the rule of thumb, which is coarse.
        perplexity: On the text of its evaluation.
        kl_divergence: From its parent.
        answers_right: Share of the questions.
        warnings: Of its lineage.
    """

    ref: str
    family: str | None
    parameters: int
    quantization: str
    length: int
    original: Original
    share_of_original: float
    bits_per_weight: float
    context_length: int
    predicted_memory_bytes: int
    memory_by_rule_bytes: int
    generation: Reading | None = None
    prompt: Reading | None = None
    first_token: Reading | None = None
    load_cold: Reading | None = None
    energy: Reading | None = None
    memory: Reading | None = None
    perplexity: Reading | None = None
    kl_divergence: Reading | None = None
    answers_right: Reading | None = None
    warnings: tuple[str, ...] = ()


USUAL_CONTEXT = 2048
_F16_BYTES = 2


def compare_row(subject: Subject, device_class: str | None, known: Mapping[str, Entry]) -> Row:
    """The row of an entry; speed, memory and energy of one class of machines, quality of any.

    Args:
        subject: The entry and its figures.
        device_class: None takes none of what depends on the machine.
        known: All entries by ``NAME@VERSION``, for ancestors.
    """
    entry = subject.entry
    original = find_original(entry, known)
    own = device_class or ""  # no machine has an empty class
    memory = next(iter(memory_points(subject, own)), None)
    context = USUAL_CONTEXT if memory is None else memory.at.get("context", USUAL_CONTEXT)
    return Row(
        ref=str(entry.ref),
        family=entry.family,
        parameters=entry.description.parameters,
        quantization=entry.description.quantization,
        length=entry.length,
        original=original,
        share_of_original=entry.length / original.length if original.length else 0.0,
        bits_per_weight=bits_per_weight(entry),
        context_length=entry.description.context_length,
        predicted_memory_bytes=entry.description.estimate_memory_bytes(
            context_tokens=min(context, entry.description.context_length or context)
        ),
        memory_by_rule_bytes=round(memory_by_rule(entry)),
        generation=generation_speed(subject, own),
        prompt=prompt_speed(subject, own),
        first_token=least(subject, "first_token_ms", own),
        load_cold=least(subject, "load_cold_ms", own),
        energy=least(subject, "joules_per_token", own),
        memory=memory,
        perplexity=newest(subject, "perplexity"),
        kl_divergence=newest(subject, "kl_divergence"),
        answers_right=newest(subject, "answers_right_share"),
        warnings=entry.lineage.warnings if entry.lineage is not None else (),
    )


def find_original(entry: Entry, known: Mapping[str, Entry]) -> Original:
    """The furthest ancestor that is in the library; where that is quantized, the same weights in 16 bits."""
    root, seen = entry, {str(entry.ref)}
    while root.lineage is not None and root.lineage.parent in known and root.lineage.parent not in seen:
        root = known[root.lineage.parent]
        seen.add(str(root.ref))
    own = root.description.dominant_tensor_type
    if root is entry or own not in WHOLE_TYPES:
        length = root.description.parameters * _F16_BYTES
        return Original(ref=None, root=str(root.ref), length=length, quantization="F16 (computed)")
    named = root.description.quantization
    return Original(ref=str(root.ref), root=str(root.ref), length=root.length, quantization=named)

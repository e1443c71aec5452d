"""What a model will do on a class of machines: measured, or predicted where that is honest. Pure."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final, Literal

import msgspec

from skerry_controller.workshop.comparing.reading import (
    Reading,
    Subject,
    device_classes,
    generation_speed,
    memory_at,
)
from skerry_controller.workshop.library import Entry

LEAST_PAIRS: Final = 2
"""Models of one type that were measured on both classes before one class says anything of the other."""


class Expected(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value, and how it is known.

    Attributes:
        value: In the figure's unit.
        how: ``measured`` on that very class of machines, or ``predicted``.
        why: Where and when it was measured, or from what it was predicted.
    """

    value: float
    how: Literal["measured", "predicted"]
    why: str


def expect_speed(subject: Subject, device_class: str | None, others: Sequence[Subject]) -> Expected | None:
    """Tokens a second; None when nothing honest can be said.

    Size says nothing of speed, and no type of weights says anything of another: kernels differ. So a
    prediction is made of two things only: a model of the same shape and the same types of weights was
    measured on that class; or this model was measured elsewhere, and models of its type on both classes.
    """
    if device_class is None:
        return None
    own = generation_speed(subject, device_class)
    if own is not None:
        return Expected(own.value, "measured", _where(own))
    twin = next(_twins(subject, device_class, others), None)
    if twin is not None:
        other, reading = twin
        why = f"as {other.entry.ref}, which has the same shape and types: {_where(reading)}"
        return Expected(reading.value, "predicted", why)
    return _scaled(subject, device_class, others)


def expect_memory(subject: Subject, context_tokens: int, device_class: str | None) -> Expected:
    """Bytes that a runner needs with a context of so many tokens."""
    measured = memory_at(subject, context_tokens, device_class) if device_class is not None else None
    if measured is not None:
        context = measured.at.get("context", 0)
        return Expected(measured.value, "measured", f"with a context of {context} tokens, {_where(measured)}")
    return agent_memory(subject.entry, context_tokens)


def agent_memory(entry: Entry, context_tokens: int) -> Expected:
    """What an agent foresees for its runner, and refuses a version by."""
    context = min(context_tokens, entry.description.context_length or context_tokens)
    need = entry.description.estimate_memory_bytes(context_tokens=context)
    return Expected(float(need), "predicted", f"an agent's runner with a context of {context} tokens")


def _twins(
    subject: Subject, device_class: str, others: Sequence[Subject]
) -> Iterator[tuple[Subject, Reading]]:
    shape = _shape(subject.entry)
    for other in others:
        reading = generation_speed(other, device_class)
        if (
            other.entry.sha256 != subject.entry.sha256
            and _shape(other.entry) == shape
            and reading is not None
        ):
            yield other, reading


def _scaled(subject: Subject, device_class: str, others: Sequence[Subject]) -> Expected | None:
    """The speed elsewhere by the ratio of the two classes, as models of the same type have it."""
    for elsewhere in device_classes([subject]):
        there = generation_speed(subject, elsewhere)
        if there is None:
            continue
        ratios = []
        for other in others:
            here, of_other = generation_speed(other, device_class), generation_speed(other, elsewhere)
            same_type = _types(other.entry) == _types(subject.entry)
            if same_type and here is not None and of_other is not None and of_other.value > 0:
                ratios.append(here.value / of_other.value)
        if len(ratios) >= LEAST_PAIRS:
            why = (
                f"from {there.value:.4g} tok/s on {elsewhere} by the ratio of {len(ratios)} models of its"
                f" type ({min(ratios):.2g} to {max(ratios):.2g})"
            )
            return Expected(there.value * median(ratios), "predicted", why)
    return None


def _shape(entry: Entry) -> tuple[object, ...]:
    described = entry.description
    return (
        described.architecture,
        described.parameters,
        described.embedding_length,
        described.block_count,
        described.vocabulary_size,
        _types(entry),
        tuple(sorted(described.tensor_bytes.items())),
    )


def _types(entry: Entry) -> str:
    return entry.description.dominant_tensor_type


def _where(reading: Reading) -> str:
    return f"on {reading.device_class} ({reading.machine}, {reading.measured_at[:10]})"

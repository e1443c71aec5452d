"""Which models of a library fit what is asked, in which order, and why the others do not. Pure."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from skerry_controller.workshop.choosing.expected import Expected, agent_memory, expect_memory, expect_speed
from skerry_controller.workshop.choosing.suggestions import Suggestion
from skerry_controller.workshop.choosing.wishes import Wishes
from skerry_controller.workshop.comparing import (
    Chart,
    Reading,
    Scale,
    Subject,
    pareto_front,
    quality_of,
    quality_scale,
)
from skerry_controller.workshop.comparing.charting import speed_quality_chart
from skerry_controller.workshop.comparing.rules_of_thumb import bits_per_weight
from skerry_controller.workshop.library import Entry

_GIB = 1024**3
_MIB = 1024**2


class Rejection(msgspec.Struct, frozen=True):
    """Why a model does not fit: a stable code, and a sentence with its number."""

    code: str
    message: str


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model that is looked at.

    Attributes:
        ref: ``NAME@VERSION``.
        quantization: Its own.
        length: Of its file, in bytes.
        memory: In bytes.
        speed: Tokens a second; None when nothing honest can be said.
        quality: On the scale of the advice.
        rejections: Why it does not fit; empty for one that does.
        proven: It fits by what was measured or well predicted; else speed was asked for and is not known.
        front: On the Pareto front of speed and quality.
        rank: From 1; None for what does not fit.
    """

    ref: str
    quantization: str
    length: int
    memory: Expected
    speed: Expected | None = None
    quality: Reading | None = None
    rejections: tuple[Rejection, ...] = ()
    proven: bool = True
    front: bool = False
    rank: int | None = None


class Advice(msgspec.Struct, frozen=True, omit_defaults=True):
    """What fits, best first, then what does not.

    Attributes:
        wishes: What was asked.
        scale: By which quality was ranked; None when there is no common one.
        ranked_by: In words.
        candidates: All models.
        suggestions: Quantizations to make.
        chart: Speed against quality.
    """

    wishes: Wishes
    scale: Scale | None
    ranked_by: str
    candidates: tuple[Candidate, ...]
    suggestions: tuple[Suggestion, ...] = ()
    chart: Chart | None = None


def advise(
    subjects: Sequence[Subject],
    wishes: Wishes,
    known: Mapping[str, Entry],
    suggestions: Sequence[Suggestion] = (),
    *,
    measured: Sequence[Subject] | None = None,
) -> Advice:
    """Rank models.

    The best quality that meets the bounds comes first. Quality is compared on a scale that all that fit
    share; without one the number of parameters and bits a weight stand in for it, and the advice says so.

    Args:
        subjects: What is chosen from.
        wishes: What is asked.
        known: All entries of the library by ``NAME@VERSION``.
        suggestions: To be handed on.
        measured: Whose figures serve for predictions; None for those of ``subjects``.
    """
    others = subjects if measured is None else measured
    looked = [(subject, _look(subject, wishes, others)) for subject in subjects]
    fitting = [(s, c) for s, c in looked if not c.rejections]
    scale = quality_scale([subject for subject, _ in fitting])
    with_quality = [(s, _with_quality(s, c, scale)) for s, c in fitting]
    with_quality = _with_front(with_quality, scale)
    ordered = sorted(with_quality, key=lambda pair: _rank_key(pair[0].entry, pair[1], scale))
    ranked = [msgspec.structs.replace(c, rank=rank) for rank, (_, c) in enumerate(ordered, start=1)]
    rejected = sorted((c for _, c in looked if c.rejections), key=lambda c: (len(c.rejections), c.ref))
    return Advice(
        wishes=wishes,
        scale=scale,
        ranked_by=_ranked_by(scale),
        candidates=(*ranked, *rejected),
        suggestions=tuple(suggestions),
        chart=speed_quality_chart([s for s, _ in fitting], wishes.device_class, scale, known),
    )


def _look(subject: Subject, wishes: Wishes, others: Sequence[Subject]) -> Candidate:
    entry = subject.entry
    memory = expect_memory(subject, wishes.context_tokens, wishes.device_class)
    speed = expect_speed(subject, wishes.device_class, others)
    return Candidate(
        ref=str(entry.ref),
        quantization=entry.description.quantization,
        length=entry.length,
        memory=memory,
        speed=speed,
        rejections=tuple(_rejections(entry, wishes, memory, speed)),
        proven=wishes.min_tok_s is None or speed is not None,
    )


def _rejections(
    entry: Entry, wishes: Wishes, memory: Expected, speed: Expected | None
) -> Iterator[Rejection]:
    described, given = entry.description, wishes.memory_bytes
    foreseen = agent_memory(entry, wishes.context_tokens)
    if given is not None and memory.value > given:
        message = (
            f"needs {_size(memory.value)} ({memory.how}: {memory.why}), {_size(given)} {wishes.memory_from}"
        )
        yield Rejection("memory", message)
    elif given is not None and foreseen.value > given:
        yield Rejection(
            "memory",
            f"took {_size(memory.value)} where it was measured, but an agent foresees {_size(foreseen.value)}"
            f" and refuses it: {_size(given)} {wishes.memory_from}",
        )
    if wishes.disk_bytes is not None and entry.length > wishes.disk_bytes:
        yield Rejection("disk", f"its file has {_size(entry.length)}, {_size(wishes.disk_bytes)} given")
    if wishes.min_tok_s is not None and speed is not None and speed.value < wishes.min_tok_s:
        message = f"gives {speed.value:.3g} tok/s ({speed.how}: {speed.why}), {wishes.min_tok_s:g} asked"
        yield Rejection("speed", message)
    if described.context_length < wishes.context_tokens:
        asked = f"{wishes.context_tokens} asked"
        yield Rejection("context", f"was trained for {described.context_length} tokens, {asked}")
    if wishes.task == "chat" and not described.has_chat_template:
        yield Rejection("task", "has no chat template, which chat needs")


def _with_quality(subject: Subject, candidate: Candidate, scale: Scale | None) -> Candidate:
    quality = None if scale is None else quality_of(subject, scale)
    return msgspec.structs.replace(candidate, quality=quality)


def _with_front(
    fitting: Sequence[tuple[Subject, Candidate]], scale: Scale | None
) -> list[tuple[Subject, Candidate]]:
    """The front among models of which both are known."""
    if scale is None:
        return list(fitting)
    both = [(c.speed.value, scale.goodness(c.quality.value)) for _, c in fitting if c.speed and c.quality]
    front = iter(pareto_front(both))
    return [
        (s, msgspec.structs.replace(c, front=bool(c.speed and c.quality and next(front)))) for s, c in fitting
    ]


def _rank_key(entry: Entry, candidate: Candidate, scale: Scale | None) -> tuple[float, ...]:
    speed = -(candidate.speed.value if candidate.speed is not None else 0.0)
    if scale is not None and candidate.quality is not None:
        return (not candidate.proven, -scale.goodness(candidate.quality.value), speed, entry.length)
    return (not candidate.proven, -entry.description.parameters, -bits_per_weight(entry), speed)


def _ranked_by(scale: Scale | None) -> str:
    if scale is None:
        return (
            "number of parameters and bits a weight, which only stand in for quality: it was not measured of"
            " all that fit on a scale that they share ('skerry model eval')"
        )
    return f"{scale.title}: {scale.why}"


def _size(count: float) -> str:
    return f"{count / _GIB:.2f} GiB" if count >= _GIB else f"{count / _MIB:.0f} MiB"

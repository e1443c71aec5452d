"""What the figures of an entry say of one thing: the right one of many, for one class of machines. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from skerry_controller.workshop.library import Entry, Figure, Figures, Machine


class Subject(NamedTuple):
    """An entry with all that was measured of it, the newest first."""

    entry: Entry
    figures: Sequence[Figures]


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value that was measured, and where and when.

    Attributes:
        value: The median.
        low: The least of the repetitions.
        high: The largest.
        unit: As in :class:`Figure`.
        at: The point where it was measured.
        device_class: Of the machine.
        machine: Its name.
        measured_at: ISO 8601 in UTC.
    """

    value: float
    low: float
    high: float
    unit: str
    at: dict[str, int]
    device_class: str
    machine: str
    measured_at: str


def device_classes(subjects: Iterable[Subject]) -> list[str]:
    """Classes of machines on which speed or memory was measured, those with most models first."""
    counts: Counter[str] = Counter()
    for subject in subjects:
        counts.update(
            {f.machine.device_class for f in subject.figures if f.kind in ("speed", "memory", "load")}
        )
    return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def machines(subjects: Iterable[Subject], device_class: str) -> list[Machine]:
    """Machines of a class on which anything was measured, each once."""
    found = {
        f.machine.name: f.machine
        for s in subjects
        for f in s.figures
        if f.machine.device_class == device_class
    }
    return [found[name] for name in sorted(found)]


def generation_speed(subject: Subject, device_class: str | None) -> Reading | None:
    """Tokens a second for one answer: the best number of threads, at the least depth that was measured."""
    return _best_speed(subject, "generation_tok_s", device_class)


def prompt_speed(subject: Subject, device_class: str | None) -> Reading | None:
    """Tokens of a prompt a second: the same, at the best batch."""
    return _best_speed(subject, "prompt_tok_s", device_class)


def memory_points(subject: Subject, device_class: str | None) -> list[Reading]:
    """Measured resident memory by context, in the order of the context."""
    found: dict[int, Reading] = {}
    for reading in _readings(subject, "rss_bytes", device_class):
        found.setdefault(reading.at.get("context", 0), reading)
    return [found[context] for context in sorted(found)]


def memory_at(subject: Subject, context_tokens: int, device_class: str | None) -> Reading | None:
    """Measured resident memory at a context of at least so many tokens; None when none was so long."""
    return next(
        (r for r in memory_points(subject, device_class) if r.at.get("context", 0) >= context_tokens), None
    )


def newest(subject: Subject, name: str, device_class: str | None = None) -> Reading | None:
    """The newest figure of that name; on any machine without a class."""
    return next(_readings(subject, name, device_class), None)


def least(subject: Subject, name: str, device_class: str | None) -> Reading | None:
    """The least of the newest run's figures of that name."""
    return min(_newest_run(subject, name, device_class), key=lambda reading: reading.value, default=None)


def corpus_of(subject: Subject, name: str) -> str | None:
    """The text or the questions of the newest figure of that name."""
    return next((run.corpus for run in subject.figures if run.find(name) is not None), None)


def _best_speed(subject: Subject, name: str, device_class: str | None) -> Reading | None:
    run = _newest_run(subject, name, device_class)
    alone = [r for r in run if r.at.get("batch", 1) == 1] if name == "generation_tok_s" else run
    points = alone or run
    shallow = min((r.at.get("depth", 0) for r in points), default=0)
    return max(
        (r for r in points if r.at.get("depth", 0) == shallow),
        key=lambda reading: reading.value,
        default=None,
    )


def _newest_run(subject: Subject, name: str, device_class: str | None) -> list[Reading]:
    for run in _runs(subject, device_class):
        found = [_reading(run, figure) for figure in run.figures if figure.name == name]
        if found:
            return found
    return []


def _readings(subject: Subject, name: str, device_class: str | None) -> Iterator[Reading]:
    for run in _runs(subject, device_class):
        yield from (_reading(run, figure) for figure in run.figures if figure.name == name)


def _runs(subject: Subject, device_class: str | None) -> Iterator[Figures]:
    return (f for f in subject.figures if device_class is None or f.machine.device_class == device_class)


def _reading(run: Figures, figure: Figure) -> Reading:
    return Reading(
        value=figure.median,
        low=figure.low,
        high=figure.high,
        unit=figure.unit,
        at=figure.at,
        device_class=run.machine.device_class,
        machine=run.machine.name,
        measured_at=run.measured_at,
    )

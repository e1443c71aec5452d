"""What a child measured, and how it becomes a figure. Pure."""

import statistics
from collections.abc import Iterable

import msgspec

from skerry_controller.workshop.library import Figure


class Sample(msgspec.Struct, frozen=True):
    """The values of all repetitions of one measurement.

    Attributes:
        name: As in :class:`~skerry_controller.workshop.library.Figure`.
        unit: The same.
        values: In the order in which they were measured.
        at: The point where.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    at: dict[str, int] = {}


class Samples(msgspec.Struct, frozen=True):
    """All that one child measured.

    Attributes:
        samples: In the order in which they were measured.
        notes: What a reader of them has to know.
    """

    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()


def to_figure(sample: Sample) -> Figure:
    """Median, lowest and highest of the repetitions."""
    return Figure(
        name=sample.name,
        unit=sample.unit,
        median=statistics.median(sample.values),
        low=min(sample.values),
        high=max(sample.values),
        repetitions=len(sample.values),
        at=sample.at,
    )


def to_figures(samples: Iterable[Sample]) -> tuple[Figure, ...]:
    """The same of many."""
    return tuple(to_figure(sample) for sample in samples)

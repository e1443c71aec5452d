"""A chart as data: for matplotlib, for the web page, and for ``--json`` alike."""

from typing import Literal

import msgspec


class Axis(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an axis shows.

    Attributes:
        title: In words.
        unit: ``MiB``, ``tok/s``, ``tokens``, ``1``.
        better: Which way is better, where there is one.
    """

    title: str
    unit: str
    better: Literal["more", "less"] | None = None


class ChartPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value.

    Attributes:
        label: ``NAME@VERSION``, or the quantization where the series is one model.
        x: On the horizontal axis; of bars their position.
        y: On the vertical axis.
        low: The least that was measured of ``x`` on a scatter chart, else of ``y``.
        high: The largest.
        predicted: Computed and not measured.
        front: On the Pareto front.
    """

    label: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    predicted: bool = False
    front: bool = False


class Series(msgspec.Struct, frozen=True, omit_defaults=True):
    """Points that belong together."""

    name: str
    points: tuple[ChartPoint, ...]


class Chart(msgspec.Struct, frozen=True, omit_defaults=True):
    """One chart.

    Attributes:
        id: Stable, and the name of its file: ``size``, ``speed-quality``, ``memory-context``.
        title: In words.
        kind: ``bars``, ``scatter`` or ``lines``.
        x: The horizontal axis.
        y: The vertical axis.
        series: What it shows.
        notes: What a reader has to know.
    """

    id: str
    title: str
    kind: Literal["bars", "scatter", "lines"]
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()

"""A whole comparison: rows and charts, for a terminal, a program and a page alike. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from skerry_controller.errors import NotFoundError
from skerry_controller.workshop.comparing.chart_data import Chart
from skerry_controller.workshop.comparing.charting import memory_chart, size_chart, speed_quality_chart
from skerry_controller.workshop.comparing.quality import Scale, quality_scale
from skerry_controller.workshop.comparing.reading import Subject, device_classes
from skerry_controller.workshop.comparing.rows import Row, compare_row
from skerry_controller.workshop.library import Entry


class Comparison(msgspec.Struct, frozen=True, omit_defaults=True):
    """Models side by side.

    Attributes:
        device_class: Machines whose speed and memory are shown; None when nothing was measured anywhere.
        other_classes: On which something was measured too.
        scale: By which quality is compared; None when there is no common one.
        rows: In the order that was asked for.
        charts: Their data.
        notes: What is missing, and how to get it.
    """

    device_class: str | None
    other_classes: tuple[str, ...]
    scale: Scale | None
    rows: tuple[Row, ...]
    charts: tuple[Chart, ...]
    notes: tuple[str, ...] = ()


def compare(
    subjects: Sequence[Subject], entries: Iterable[Entry], device_class: str | None = None
) -> Comparison:
    """Put models side by side.

    Args:
        subjects: What to compare, each once.
        entries: All of the library, for ancestors.
        device_class: Whose speed and memory to show; None takes that on which most of them were measured.

    Raises:
        NotFoundError: Nothing was measured on that class.
    """
    classes = device_classes(subjects)
    if device_class is not None and device_class not in classes:
        there = ", ".join(f"{name!r}" for name in classes) or "none at all"
        raise NotFoundError(f"none of these was measured on {device_class!r}; there are figures of {there}")
    chosen = device_class or next(iter(classes), None)
    known = {str(entry.ref): entry for entry in entries}
    rows = tuple(compare_row(subject, chosen, known) for subject in subjects)
    scale = quality_scale(subjects)
    charts = [size_chart(rows), memory_chart(subjects, chosen)]
    trade = speed_quality_chart(subjects, chosen, scale, known)
    if trade is not None:
        charts.insert(1, trade)
    return Comparison(
        device_class=chosen,
        other_classes=tuple(name for name in classes if name != chosen),
        scale=scale,
        rows=rows,
        charts=tuple(charts),
        notes=tuple(_notes(rows, scale, chosen)),
    )


def _notes(rows: Sequence[Row], scale: Scale | None, device_class: str | None) -> list[str]:
    notes = []
    unmeasured = [row.ref for row in rows if row.generation is None]
    if unmeasured:
        where = "anywhere" if device_class is None else f"on {device_class}"
        notes.append(f"speed was not measured {where} of {', '.join(unmeasured)}: 'skerry model bench' does")
    if scale is None:
        notes.append(
            "quality was not measured of all of them on a scale that they share: 'skerry model eval' does"
        )
    notes += [f"{row.ref}: {warning}" for row in rows for warning in row.warnings]
    return notes

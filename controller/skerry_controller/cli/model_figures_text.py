"""Figures of a model as lines of a table."""

from collections.abc import Iterable, Sequence

from skerry_controller.cli.output import format_bytes, print_note
from skerry_controller.workshop.library import Entry, Figures
from skerry_controller.workshop.measuring import rules_of_thumb


def figure_rows(found: Iterable[Figures]) -> list[tuple[object, ...]]:
    """One line a figure: name, median, lowest, highest, repetitions, where."""
    return [
        (
            figure.name,
            f"{figure.median:.4g} {'' if figure.unit == '1' else figure.unit}".rstrip(),
            f"{figure.low:.4g}",
            f"{figure.high:.4g}",
            figure.repetitions,
            ", ".join(f"{key} {value}" for key, value in figure.at.items()),
        )
        for figures in found
        for figure in figures.figures
    ]


def memory_rows(entry: Entry, found: Iterable[Figures]) -> list[tuple[object, ...]]:
    """One line a context: the rule of thumb, our prediction, what was measured."""
    rule = rules_of_thumb(entry)
    rows: list[tuple[object, ...]] = []
    for figures in found:
        for measured in (f for f in figures.figures if f.name == "measured_bytes"):
            context = measured.at["context"]
            predicted = figures.find("predicted_bytes", context=context)
            rss = figures.find("rss_bytes", context=context)
            if predicted is None or rss is None:
                continue
            rows.append(
                (
                    context,
                    f"{format_bytes(rule.memory_bytes)} ({rule.factor:g} x the file)",
                    format_bytes(int(predicted.median)),
                    format_bytes(int(measured.median)),
                    f"{predicted.median / measured.median - 1:+.1%}",
                    format_bytes(int(rss.median)),
                )
            )
    return rows


def print_notes(found: Sequence[Figures]) -> None:
    """What a reader of the figures has to know, each once, and where and when they were measured."""
    if found:
        machine = found[0].machine
        versions = ", ".join(f"{name} {version}" for name, version in found[0].versions.items())
        print_note(f"{machine.device_class} ({machine.name}), {found[0].measured_at}; {versions}")
    for note in dict.fromkeys(note for figures in found for note in figures.notes):
        print_note(f"note: {note}")

"""``skerry model compare``: the work behind the options, and its tables."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from skerry_controller.cli.model_frame import opened_library
from skerry_controller.cli.output import format_bytes, print_line, print_note, print_table
from skerry_controller.errors import UsageError
from skerry_controller.workshop.comparing import Chart, Comparison, Reading, Row, Subject, compare
from skerry_controller.workshop.comparing.drawing import draw

_Cell = Callable[[Row], object]


def compare_models(
    models: Sequence[str], device_class: str | None, charts: Path | None, data: Path | None
) -> tuple[Comparison, list[Path]]:
    """The comparison, and the files that were drawn.

    Raises:
        ControllerError: A model is not there, nothing was measured on that class, or the folder refused.
    """
    with opened_library(data, read_only=True) as library:
        entries = library.entries()
        found = [library.find(text) for text in models]
        twice = sorted({str(entry.ref) for entry in found if found.count(entry) > 1})
        if twice:
            raise UsageError(f"{', '.join(twice)} is named twice: name each model once")
        subjects = [Subject(entry, library.figures(entry)) for entry in found]
    comparison = compare(subjects, entries, device_class)
    return comparison, draw_all(comparison.charts, charts)


def draw_all(charts: Sequence[Chart], folder: Path | None) -> list[Path]:
    """The files of all charts; none without a folder."""
    return [] if folder is None else [file for chart in charts for file in draw(chart, folder)]


def print_comparison(comparison: Comparison, files: Sequence[Path]) -> None:
    """The tables: sizes, then what was measured, as far as anything was."""
    rows = comparison.rows
    sizes: list[tuple[str, _Cell]] = [
        ("MODEL", lambda row: row.ref),
        ("TYPE", lambda row: row.quantization),
        ("SIZE", lambda row: format_bytes(row.length)),
        ("OF ORIGINAL", lambda row: f"{100 * row.share_of_original:.0f} % of {_original(row)}"),
        ("BITS/WEIGHT", lambda row: f"{row.bits_per_weight:.2f}"),
        ("RUNNER, PREDICTED", lambda row: format_bytes(row.predicted_memory_bytes)),
        ("MEASURED", lambda row: _memory(row.memory)),
        ("RULE OF THUMB", lambda row: f"~{format_bytes(row.memory_by_rule_bytes)}"),
    ]
    _print(sizes, rows)
    figures: list[tuple[str, _Cell]] = [
        ("MODEL", lambda row: row.ref),
        ("TOK/S", lambda row: reading_text(row.generation)),
        ("PROMPT TOK/S", lambda row: reading_text(row.prompt)),
        ("FIRST TOKEN MS", lambda row: reading_text(row.first_token)),
        ("LOAD MS", lambda row: reading_text(row.load_cold)),
        ("J/TOKEN", lambda row: reading_text(row.energy)),
        ("PERPLEXITY", lambda row: reading_text(row.perplexity)),
        ("KL", lambda row: reading_text(row.kl_divergence)),
        ("RIGHT ANSWERS", lambda row: _percent(row.answers_right)),
        ("FRONT", lambda row: "*" if row.ref in front_of(comparison.charts) else ""),
    ]
    there = [(name, cell) for name, cell in figures if any(cell(row) not in (None, "") for row in rows)]
    if len(there) > 1:
        print_line("")
        if comparison.device_class is not None:
            print_line(f"on {comparison.device_class}:")
        _print(there, rows)
    for line in _remarks(comparison, files):
        print_note(line)


def front_of(charts: Sequence[Chart]) -> set[str]:
    """The models on the Pareto front."""
    return {p.label for chart in charts for series in chart.series for p in series.points if p.front}


def reading_text(reading: Reading | None) -> str | None:
    """``209 ±4 %``: the median, and the farther of the two ends of the spread."""
    if reading is None:
        return None
    spread = max(reading.high - reading.value, reading.value - reading.low)
    text = f"{reading.value:.3g}" if abs(reading.value) < 1000 else f"{reading.value:.0f}"  # noqa: PLR2004 - no exponents
    return f"{text} ±{100 * spread / reading.value:.0f} %" if spread and reading.value else text


def _remarks(comparison: Comparison, files: Sequence[Path]) -> Iterator[str]:
    yield from comparison.notes
    if comparison.other_classes:
        shown = ", ".join(repr(name) for name in comparison.other_classes)
        yield f"there are also figures of {shown}: --device-class"
    if comparison.scale is not None:
        yield f"quality compared by {comparison.scale.title}: {comparison.scale.why}"
    for file in files:
        yield f"drawn: {file}"


def _print(columns: Sequence[tuple[str, _Cell]], rows: Sequence[Row]) -> None:
    table = [[cell(row) for _, cell in columns] for row in rows]
    print_table([name for name, _ in columns], table, empty="")


def _original(row: Row) -> str:
    return row.original.ref or row.original.quantization


def _memory(reading: Reading | None) -> str | None:
    if reading is None:
        return None
    context = reading.at.get("context")
    return f"{format_bytes(round(reading.value))}{f' at {context}' if context else ''}"


def _percent(reading: Reading | None) -> str | None:
    return None if reading is None else f"{100 * reading.value:.0f} %"

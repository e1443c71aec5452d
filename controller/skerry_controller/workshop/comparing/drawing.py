"""Charts as PNG and SVG: readable in greyscale, the same bytes for the same data."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from skerry_controller.errors import UsageError, WorldError
from skerry_controller.workshop.comparing.chart_data import Axis, Chart, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS: Final = ("svg", "png")
_GREYS: Final = ("0.15", "0.45", "0.65", "0.8")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
_HATCHES: Final = ("", "///", "...", "xxx")
_INCHES: Final = (7.0, 4.2)
_DPI: Final = 110
_RULES: Final[Any] = {
    "svg.hashsalt": "skerry",
    "svg.fonttype": "path",
    "font.size": 8,
    "font.family": "DejaVu Sans",
}


def draw(chart: Chart, folder: Path) -> list[Path]:
    """Write a chart as ``ID.svg`` and ``ID.png``.

    Raises:
        UsageError: matplotlib is not installed.
        WorldError: The folder cannot be written.
    """
    written = []
    for kind in FORMATS:
        path = folder / f"{chart.id}.{kind}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(render(chart, kind))
        except OSError as error:
            raise WorldError(f"cannot write {path}: {error.strerror}") from error
        written.append(path)
    return written


def render(chart: Chart, kind: str) -> bytes:
    """The chart as an image file of one of :data:`FORMATS`.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with _figure() as (figure, axes):
        _PAINTERS[chart.kind](axes, chart)
        axes.set_title(chart.title, fontsize=10)
        axes.set_xlabel(_axis_text(chart.x))
        axes.set_ylabel(_axis_text(chart.y))
        if chart.notes:
            figure.text(0.01, 0.01, "; ".join(chart.notes), fontsize=6, color="0.3", wrap=True)
        out = io.BytesIO()
        # Without these, each file would hold the moment at which it was made.
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(out, format=kind, dpi=_DPI, metadata=metadata)
    return out.getvalue()


@contextmanager
def _figure() -> Iterator[tuple[Any, "Axes"]]:
    try:
        import matplotlib as mpl  # noqa: PLC0415 - heavy, and only here
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - the same
        from matplotlib.figure import Figure  # noqa: PLC0415 - the same
        from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - the same
    except ImportError as error:
        raise UsageError("charts need matplotlib: install skerry[workshop]") from error
    rules: Any = {
        "svg.hashsalt": "skerry",
        "svg.fonttype": "path",
        "font.size": 8,
        "font.family": "DejaVu Sans",
    }
    with mpl.rc_context(rules):
        figure = Figure(figsize=_INCHES, layout=ConstrainedLayoutEngine(rect=(0, 0.05, 1, 0.95)))
        FigureCanvasAgg(figure)
        yield figure, figure.add_subplot()


def _bars(axes: "Axes", chart: Chart) -> None:
    ticks: list[str] = []
    for index, series in enumerate(chart.series):
        places = range(len(ticks), len(ticks) + len(series.points))
        bars = axes.bar(
            list(places),
            [point.y for point in series.points],
            color=_GREYS[index % len(_GREYS)],
            edgecolor="black",
            hatch=_HATCHES[index % len(_HATCHES)],
            label=series.name,
        )
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
        ticks += [point.label for point in series.points]
    axes.set_xticks(range(len(ticks)), ticks, rotation=30, ha="right", fontsize=7)
    axes.legend(fontsize=7)


def _scatter(axes: "Axes", chart: Chart) -> None:
    for index, series in enumerate(chart.series):
        xs, ys = [point.x for point in series.points], [point.y for point in series.points]
        spread = [[p.x - (p.x if p.low is None else p.low) for p in series.points],
                  [(p.x if p.high is None else p.high) - p.x for p in series.points]]  # fmt: skip
        axes.errorbar(
            xs,
            ys,
            xerr=spread,
            fmt=_MARKERS[index % len(_MARKERS)],
            color=_GREYS[index % 2],
            elinewidth=0.8,
            capsize=2,
            label=series.name,
        )
        for point in series.points:
            axes.annotate(
                point.label, (point.x, point.y), textcoords="offset points", xytext=(6, 5), fontsize=7
            )
    front = sorted((p.x, p.y) for series in chart.series for p in series.points if p.front)
    axes.plot(
        [x for x, _ in front],
        [y for _, y in front],
        linestyle="--",
        linewidth=0.8,
        color="black",
        marker="o",
        markersize=13,
        markerfacecolor="none",
        label="Pareto front",
    )
    axes.margins(0.15)
    axes.legend(fontsize=7)


def _lines(axes: "Axes", chart: Chart) -> None:
    for index, series in enumerate(chart.series):
        predicted = all(point.predicted for point in series.points)
        axes.plot(
            [point.x for point in series.points],
            [point.y for point in series.points],
            color=_grey(series, chart),
            linestyle="--" if predicted else "-",
            marker=None if predicted else _MARKERS[index % len(_MARKERS)],
            label=series.name,
            linewidth=1.2,
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=6)


def _grey(series: Series, chart: Chart) -> str:
    """One grey for all lines of one model."""
    models = list(dict.fromkeys(each.points[0].label for each in chart.series))
    return _GREYS[models.index(series.points[0].label) % len(_GREYS)]


def _axis_text(axis: Axis) -> str:
    unit = "" if axis.unit == "1" else f" ({axis.unit})"
    return f"{axis.title}{unit}{f', {axis.better} is better' if axis.better else ''}"


_PAINTERS = {"bars": _bars, "scatter": _scatter, "lines": _lines}

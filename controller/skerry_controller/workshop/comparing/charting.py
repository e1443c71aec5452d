"""From subjects to the three charts of a comparison. Pure."""

from collections.abc import Mapping, Sequence

from skerry_controller.workshop.comparing.chart_data import Axis, Chart, ChartPoint, Series
from skerry_controller.workshop.comparing.pareto import pareto_front
from skerry_controller.workshop.comparing.quality import Scale, quality_of
from skerry_controller.workshop.comparing.reading import Reading, Subject, generation_speed, memory_points
from skerry_controller.workshop.comparing.rows import Row, find_original
from skerry_controller.workshop.library import Entry

MIB = 1024 * 1024
_FIRST_CONTEXT, _LAST_CONTEXT = 512, 32768


def size_chart(rows: Sequence[Row]) -> Chart:
    """Size against the original, by quantization: a series for each original."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row.original.root, []).append(row)
    series = []
    for name, members in lines.items():
        original = members[0].original
        points = [
            ChartPoint(
                f"original, {original.quantization}", 0, original.length / MIB, predicted=not original.ref
            )
        ]
        for row in sorted(members, key=lambda row: -row.length):
            if row.ref != original.ref:
                label = f"{row.quantization} ({100 * row.share_of_original:.0f} %)"
                points.append(ChartPoint(label, len(points), row.length / MIB))
        series.append(Series(name, tuple(points)))
    return Chart(
        id="size",
        title="Size of the file against the original, by quantization",
        kind="bars",
        x=Axis("quantization", "1"),
        y=Axis("file", "MiB", better="less"),
        series=tuple(series),
        notes=("an original that is not in the library is computed: its weights in 16 bits",),
    )


def speed_quality_chart(
    subjects: Sequence[Subject], device_class: str | None, scale: Scale | None, known: Mapping[str, Entry]
) -> Chart | None:
    """Speed against quality with the Pareto front; None when fewer than one model has both."""
    if device_class is None or scale is None:
        return None
    found: list[tuple[Subject, Reading, Reading]] = []
    for subject in subjects:
        speed, quality = generation_speed(subject, device_class), quality_of(subject, scale)
        if speed is not None and quality is not None:
            found.append((subject, speed, quality))
    if not found:
        return None
    front = pareto_front([(speed.value, scale.goodness(quality.value)) for _, speed, quality in found])
    series: dict[str, list[ChartPoint]] = {}
    for (subject, speed, quality), on_front in zip(found, front, strict=True):
        original = find_original(subject.entry, known)
        point = ChartPoint(
            str(subject.entry.ref), speed.value, quality.value, low=speed.low, high=speed.high, front=on_front
        )
        series.setdefault(original.root, []).append(point)
    return Chart(
        id="speed-quality",
        title=f"Speed against quality on {device_class}",
        kind="scatter",
        x=Axis("generation", "tok/s", better="more"),
        y=Axis(scale.title, scale.unit, better="less" if scale.less_is_better else "more"),
        series=tuple(Series(name, tuple(points)) for name, points in series.items()),
        notes=(
            f"compared by {scale.title}: {scale.why}",
            "ringed: the Pareto front, beaten by none in both",
        ),
    )


def memory_chart(subjects: Sequence[Subject], device_class: str | None) -> Chart:
    """Memory against the length of the context: what was measured, and what an agent's runner may take."""
    series = []
    for subject in subjects:
        ref = str(subject.entry.ref)
        measured = memory_points(subject, device_class) if device_class is not None else []
        if measured:
            points = (
                ChartPoint(ref, r.at.get("context", 0), r.value / MIB, low=r.low / MIB, high=r.high / MIB)
                for r in measured
            )
            series.append(Series(f"{ref}, measured", tuple(points)))
        description = subject.entry.description
        points = (
            ChartPoint(
                ref, tokens, description.estimate_memory_bytes(context_tokens=tokens) / MIB, predicted=True
            )
            for tokens in contexts_for(description.context_length)
        )
        series.append(Series(f"{ref}, agent's runner, predicted", tuple(points)))
    return Chart(
        id="memory-context",
        title="Memory against the length of the context",
        kind="lines",
        x=Axis("context", "tokens"),
        y=Axis("resident memory", "MiB", better="less"),
        series=tuple(series),
        notes=("an agent's runner keeps a cache for two contexts: it may take more than one answer does",),
    )


def contexts_for(trained_tokens: int) -> list[int]:
    """Lengths of context to show, doubling, up to what the model was trained for."""
    last = min(trained_tokens or _LAST_CONTEXT, _LAST_CONTEXT)
    lengths, length = [], _FIRST_CONTEXT
    while length < last:
        lengths.append(length)
        length *= 2
    return [*lengths, last]

"""docs/model-figures.md from what the commands said: nothing in it is written by hand."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.models.line import Result

PAGE = "model-figures.md"
CHARTS = "model-figures"
_MIB = 1024 * 1024
_COLUMNS = (
    "model", "type", "file", "of the original", "tok/s", "prompt tok/s", "first token", "runner, predicted",
    "measured at context", "rule of thumb", "perplexity", "KL", "right answers", "front",
)  # fmt: skip


def write_report(folder: Path, results: Sequence[Result], *, seconds: float) -> Path:
    """Write the page and copy its charts; returns the page."""
    page = folder / PAGE
    charts = folder / CHARTS
    charts.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(_lines(results, charts, seconds)) + "\n", encoding="utf-8")
    return page


def _lines(results: Sequence[Result], charts: Path, seconds: float) -> Iterator[str]:
    yield "# Figures of the workshop's models"
    yield ""
    classes = (result.comparison.get("device_class") for result in results)
    machine = next((name for name in classes if name), "a machine that was not named")
    yield (
        f"Written by `make bench-models` in {seconds / 60:.0f} minutes on {machine}: each model through"
        " import, quantize, bench, eval, compare, advise and publish, by the commands that a person runs."
        " Medians; ± is the farther end of the spread."
    )
    for result in results:
        yield from _section(result, charts)


def _section(result: Result, charts: Path) -> Iterator[str]:
    yield ""
    yield f"## {result.story.title}"
    yield ""
    yield f"| {' | '.join(_COLUMNS)} |"
    yield f"|{' --- |' * len(_COLUMNS)}"
    charted = [point for c in result.comparison["charts"] for s in c["series"] for point in s["points"]]
    front = {point["label"] for point in charted if point.get("front")}
    for row in result.comparison["rows"]:
        yield f"| {' | '.join(_cells(row, row['ref'] in front))} |"
    yield ""
    for note in result.comparison.get("notes", ()):
        yield f"- {note}"
    scale = result.comparison.get("scale")
    if scale:
        yield f"- quality compared by {scale['title']}: {scale['why']}"
    yield ""
    for chart in result.comparison["charts"]:
        name = f"{result.story.name}-{chart['id']}.svg"
        shutil.copyfile(result.charts / f"{chart['id']}.svg", charts / name)
        yield f"![{chart['title']}]({CHARTS}/{name})"
        yield ""
    if result.published:
        yield f"`skerry model advise --min-tok-s 8` chose `{_best(result)}`; published with these checks:"
        yield ""
        yield "```toml"
        yield result.published["checks"][-1]["toml"].rstrip()
        yield "```"
        yield ""
    yield f"Seconds: {', '.join(f'{name} {spent:.0f}' for name, spent in result.seconds.items())}."


def _best(result: Result) -> str:
    return next((c["ref"] for c in result.advice[0]["advice"]["candidates"] if c.get("rank") == 1), "none")


def _cells(row: dict[str, Any], on_front: bool) -> list[str]:
    memory = row.get("memory")
    context = (memory or {}).get("at", {}).get("context")
    return [
        f"`{row['ref']}`",
        row["quantization"],
        _size(row["length"]),
        f"{100 * row['share_of_original']:.0f} %",
        _reading(row.get("generation")),
        _reading(row.get("prompt")),
        _reading(row.get("first_token"), " ms"),
        _size(row["predicted_memory_bytes"]),
        f"{_size(memory['value'])} at {context}" if memory else "-",
        _size(row["memory_by_rule_bytes"]),
        _reading(row.get("perplexity")),
        _reading(row.get("kl_divergence")),
        f"{100 * row['answers_right']['value']:.0f} %" if row.get("answers_right") else "-",
        "yes" if on_front else "",
    ]


def _size(count: float) -> str:
    return f"{count / _MIB:.1f} MiB"


def _reading(reading: dict[str, Any] | None, unit: str = "") -> str:
    if reading is None:
        return "-"
    value = reading["value"]
    spread = max(reading["high"] - value, value - reading["low"])
    return f"{value:.4g}{unit}" + (f" ±{100 * spread / value:.0f} %" if spread and value else "")

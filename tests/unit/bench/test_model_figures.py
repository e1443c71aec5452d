from pathlib import Path

import msgspec

from bench.models.line import Result, Story
from bench.models.report import write_report
from skerry_controller.workshop.comparing import Subject, compare
from skerry_controller.workshop.comparing.drawing import draw
from support.workshop_entries import MIB, entry, memory, quality, speed

STORY = Story("small", "Small 135M", "smollm2", ("Q4_0",))


def test_the_page_holds_a_row_for_each_model_its_charts_and_the_published_checks(tmp_path: Path) -> None:
    parent = entry("small@1", length=258 * MIB, quantization="F16")
    child = entry("small-q4_0@1", length=88 * MIB, quantization="Q4_0", parent=parent)
    subjects = [
        Subject(parent, [speed(parent, 105, prompt=631), quality(parent, 20.25)]),
        Subject(child, [speed(child, 209), quality(child, 25.4), memory(child, (2048, 250))]),
    ]
    comparison = compare(subjects, [parent, child])
    for chart in comparison.charts:
        draw(chart, tmp_path / "charts")
    advice = [{"advice": {"candidates": [{"ref": "small@1", "rank": 1}]}}]
    published = {"checks": [{"toml": "min_tokens_per_s = 60.0\n"}]}
    result = Result(
        STORY, msgspec.to_builtins(comparison), tmp_path / "charts", advice, published, {"bench": 12.4}
    )
    page = write_report(tmp_path / "docs", [result], seconds=600).read_text()
    assert "in 10 minutes on x86_64 AMD EPYC 2" in page
    row = next(line for line in page.splitlines() if line.startswith("| `small-q4_0@1`"))
    assert "| Q4_0 | 88.0 MiB | 34 % | 209 ±5 % |" in row
    assert "250.0 MiB at 2048" in row
    assert row.endswith("| yes |")
    assert "![Size of the file against the original, by quantization](model-figures/small-size.svg)" in page
    assert (tmp_path / "docs" / "model-figures" / "small-speed-quality.svg").read_bytes().startswith(b"<?xml")
    assert "chose `small@1`" in page
    assert "min_tokens_per_s = 60.0" in page

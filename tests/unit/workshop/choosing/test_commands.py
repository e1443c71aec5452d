import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from skerry_controller.cli.app import app
from skerry_controller.errors import ControllerError
from skerry_controller.workshop.choosing.wishes import parse_size
from skerry_controller.workshop.library import Library
from support.library import add_tiny
from support.workshop_entries import EPYC, quality, speed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Library.open(tmp_path / "library") as library:
        large = add_tiny(library, "tiny@1", overrides={"tokenizer.chat_template": None})
        small = add_tiny(library, "tiny@1-q8_0", quantization="Q8_0")
        for entry, rate, perplexity in ((large, 100, 20.0), (small, 180, 21.0)):
            library.record(speed(entry, rate))
            library.record(quality(entry, perplexity))
    return tmp_path / "library"


def run(*words: str) -> Any:
    result = CliRunner().invoke(app, ["model", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_compare_prints_tables_and_draws_charts(folder: Path, tmp_path: Path) -> None:
    charts = tmp_path / "charts"
    result = run("compare", "tiny@1", "tiny@1-q8_0", "--charts", str(charts), "--data", str(folder))
    assert "180 ±5 %" in result.output
    assert EPYC in result.output
    assert sorted(file.name for file in charts.glob("*.svg")) == [
        "memory-context.svg",
        "size.svg",
        "speed-quality.svg",
    ]


def test_compare_gives_programs_the_data_of_the_charts(folder: Path) -> None:
    shown = json.loads(run("compare", "tiny@1", "tiny@1-q8_0", "--json", "--data", str(folder)).stdout)
    assert [chart["id"] for chart in shown["charts"]] == ["size", "speed-quality", "memory-context"]
    assert shown["scale"]["name"] == "perplexity"


def test_compare_refuses_a_model_that_is_named_twice(folder: Path) -> None:
    with pytest.raises(ControllerError, match="tiny@1 is named twice"):
        run("compare", "tiny@1", "tiny@1", "--data", str(folder))


def test_advise_ranks_and_says_why_the_rest_does_not_fit(folder: Path) -> None:
    output = run("advise", "--min-tok-s", "120", "--context", "128", "--data", str(folder)).output
    assert "1  tiny@1-q8_0" in output
    assert (
        "not tiny@1: gives 100 tok/s (measured: on x86_64 AMD EPYC 2 (bench-1, 2026-11-25)), 120 asked"
        in output
    )
    assert "not tiny@1: has no chat template" in output


def test_advise_suggests_what_nobody_made(folder: Path) -> None:
    words = ("advise", "--task", "complete", "--context", "128", "--json", "--data", str(folder))
    [answer] = json.loads(run(*words).stdout)
    found = {(each["parent"], each["quantization"]) for each in answer["advice"]["suggestions"]}
    assert ("tiny@1", "Q4_0") in found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ram", "2x"), "'2x' is not a size"),
        (("--task", "dance"), "say chat or complete"),
        (("--device-class", "z80"), "nothing was measured on 'z80'"),
        (("--params", "9B-"), "no model of the library is like that"),
        (("--device", "d-1", "--selector", "a=b"), "not both"),
        (("--controller", "somewhere"), "--device or --selector"),
    ],
)
def test_a_question_without_an_answer_is_refused_with_the_reason(
    folder: Path, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ControllerError, match=message):
        run("advise", *words, "--data", str(folder))


def test_sizes_are_read_in_both_kinds_of_units() -> None:
    assert [parse_size(text) for text in ("2GiB", "1.5 mib", "4GB", "1000")] == [
        2**31,
        3 * 2**19,
        4 * 10**9,
        1000,
    ]

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_controller.errors import NotFoundError
from skerry_controller.workshop.comparing import (
    Chart,
    Comparison,
    Subject,
    compare,
    pareto_front,
    quality_scale,
)
from skerry_controller.workshop.comparing.drawing import draw, render
from support.workshop_entries import EPYC, MIB, PI, entry, machine, memory, quality, speed

F16 = entry("small@1", length=258 * MIB, quantization="F16")
Q4_0 = entry("small@1-q4_0", length=88 * MIB, quantization="Q4_0", parent=F16)
Q4_1 = entry("small@1-q4_1", length=94 * MIB, quantization="Q4_1", parent=F16)
SUBJECTS = [
    Subject(F16, [speed(F16, 105, prompt=631), quality(F16, 20.25)]),
    Subject(
        Q4_0, [speed(Q4_0, 209, prompt=918), quality(Q4_0, 25.41), memory(Q4_0, (4096, 300), (2048, 250))]
    ),
    Subject(Q4_1, [speed(Q4_1, 122, prompt=308), quality(Q4_1, 20.34)]),
]
ENTRIES = [F16, Q4_0, Q4_1]


def chart(comparison: Comparison, name: str) -> Chart:
    return next(each for each in comparison.charts if each.id == name)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25))
def test_a_point_is_on_the_front_when_no_other_is_better(points: list[tuple[int, int]]) -> None:
    def beaten(one: tuple[int, int]) -> bool:
        return any(o != one and o[0] >= one[0] and o[1] >= one[1] for o in points)

    assert pareto_front(points) == [not beaten(point) for point in points]


def test_a_row_shares_its_size_with_the_furthest_ancestor() -> None:
    child = entry("small@1-q4_0-again", length=86 * MIB, quantization="Q4_0", parent=Q4_0)
    rows = compare([Subject(child, []), *SUBJECTS], [*ENTRIES, child]).rows
    assert (rows[0].original.ref, rows[0].share_of_original) == ("small@1", 86 / 258)
    assert rows[1].original.ref is None  # 16 bits of its own weights
    assert 1.0 < rows[1].share_of_original < 1.01


def test_the_speed_shown_is_of_one_answer_with_the_best_number_of_threads() -> None:
    row = compare(SUBJECTS, ENTRIES).rows[1]
    assert row.generation is not None
    assert (row.generation.value, row.generation.at["threads"], row.generation.at["batch"]) == (209, 2, 1)
    assert row.prompt is not None
    assert row.prompt.value == 918


def test_figures_of_another_class_of_machines_are_not_mixed_in() -> None:
    pi = machine(PI, "pi-1")
    subjects = [SUBJECTS[0], Subject(Q4_0, [speed(Q4_0, 30, on=pi), *SUBJECTS[1].figures]), SUBJECTS[2]]
    here, there = compare(subjects, ENTRIES), compare(subjects, ENTRIES, PI)
    assert here.device_class == EPYC
    assert here.other_classes == (PI,)
    assert [row.generation and row.generation.value for row in there.rows] == [None, 30, None]
    assert "small@1, small@1-q4_1" in there.notes[0]
    assert there.rows[0].perplexity is not None  # quality is the same everywhere


def test_a_class_without_figures_is_refused_with_those_that_have_some() -> None:
    with pytest.raises(NotFoundError, match="AMD EPYC"):
        compare(SUBJECTS, ENTRIES, "x86_64 Other 8")


def test_the_front_is_about_speed_and_quality_and_not_about_size() -> None:
    points = {
        p.label: p.front for s in chart(compare(SUBJECTS, ENTRIES), "speed-quality").series for p in s.points
    }
    assert points == {"small@1": True, "small@1-q4_0": True, "small@1-q4_1": True}
    slower = Subject(Q4_1, [speed(Q4_1, 90), quality(Q4_1, 20.34)])
    trade = chart(compare([*SUBJECTS[:2], slower], ENTRIES), "speed-quality")
    assert [p.label for s in trade.series for p in s.points if not p.front] == ["small@1-q4_1"]


def test_perplexities_of_two_vocabularies_are_not_compared() -> None:
    other = entry("gemma@1", vocabulary_size=262144, tokenizer="llama")
    both = [
        Subject(F16, [quality(F16, 20.2, answers=0.2)]),
        Subject(other, [quality(other, 30.0, answers=0.4)]),
    ]
    scale = quality_scale(both)
    assert scale is not None
    assert scale.name == "answers_right_share"
    assert quality_scale([Subject(F16, [quality(F16, 20.2)]), Subject(other, [quality(other, 30.0)])]) is None


def test_perplexities_of_two_texts_are_not_compared() -> None:
    assert quality_scale([SUBJECTS[0], Subject(Q4_0, [quality(Q4_0, 9.0, corpus="other@1")])]) is None


def test_the_memory_chart_holds_what_was_measured_beside_what_is_predicted() -> None:
    series = {s.name: s for s in chart(compare(SUBJECTS, ENTRIES), "memory-context").series}
    measured = series["small@1-q4_0, measured"]
    assert [(p.x, p.y) for p in measured.points] == [(2048, 250), (4096, 300)]
    predicted = series["small@1-q4_0, agent's runner, predicted"]
    assert [p.x for p in predicted.points] == [512, 1024, 2048, 4096, 8192]
    assert all(p.predicted for p in predicted.points)
    assert "small@1, measured" not in series


def test_models_without_any_figure_are_compared_by_size_and_it_is_said_what_is_missing() -> None:
    bare = compare([Subject(F16, []), Subject(Q4_0, [])], ENTRIES)
    assert bare.device_class is None
    assert [each.id for each in bare.charts] == ["size", "memory-context"]
    assert "skerry model bench" in bare.notes[0]
    assert "skerry model eval" in bare.notes[1]


def test_a_comparison_is_json_without_the_programs_own_types() -> None:
    plain = json.loads(json.dumps(msgspec.to_builtins(compare(SUBJECTS, ENTRIES))))
    assert plain["charts"][0]["series"][0]["points"][0]["label"] == "original, F16 (computed)"


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_chart_has_the_same_bytes_each_time(kind: str) -> None:
    for each in compare(SUBJECTS, ENTRIES).charts:
        assert render(each, kind) == render(each, kind)


def test_charts_are_written_as_pictures_of_both_kinds(tmp_path: Path) -> None:
    files = draw(compare(SUBJECTS, ENTRIES).charts[0], tmp_path / "new" / "folder")
    assert [file.name for file in files] == ["size.svg", "size.png"]
    assert files[0].read_bytes().startswith(b"<?xml")
    assert files[1].read_bytes().startswith(b"\x89PNG")

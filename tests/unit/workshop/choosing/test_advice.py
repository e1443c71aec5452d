from typing import Any

import pytest

from skerry_controller.workshop.choosing import Advice, Candidate, Wishes, advise, suggest
from skerry_controller.workshop.comparing import Subject
from support.workshop_entries import EPYC, MIB, PI, entry, machine, memory, quality, speed

GIB = 1024**3

F16 = entry("small@1", length=258 * MIB, quantization="F16")
Q4_0 = entry("small@1-q4_0", length=88 * MIB, quantization="Q4_0", parent=F16)
Q4_1 = entry("small@1-q4_1", length=94 * MIB, quantization="Q4_1", parent=F16)
Q8_0 = entry("small@1-q8_0", length=138 * MIB, quantization="Q8_0", parent=F16)
ENTRIES = {str(e.ref): e for e in (F16, Q4_0, Q4_1, Q8_0)}
SUBJECTS = [
    Subject(F16, [speed(F16, 105), quality(F16, 20.25)]),
    Subject(Q4_0, [speed(Q4_0, 209), quality(Q4_0, 25.41)]),
    Subject(Q4_1, [speed(Q4_1, 122), quality(Q4_1, 20.34)]),
    Subject(Q8_0, [speed(Q8_0, 146), quality(Q8_0, 20.27)]),
]


def wish(**changes: Any) -> Wishes:
    values: dict[str, Any] = {"device_class": EPYC, "context_tokens": 2048}
    return Wishes(**values | changes)


def of(advice: Advice, ref: str) -> Candidate:
    return next(each for each in advice.candidates if each.ref == ref)


def test_the_best_quality_that_is_fast_enough_comes_first() -> None:
    advice = advise(SUBJECTS, wish(min_tok_s=140), ENTRIES)
    assert [(c.rank, c.ref) for c in advice.candidates] == [
        (1, "small@1-q8_0"),
        (2, "small@1-q4_0"),
        (None, "small@1"),
        (None, "small@1-q4_1"),
    ]
    assert of(advice, "small@1-q4_1").rejections[0].code == "speed"
    assert (
        of(advice, "small@1-q4_1")
        .rejections[0]
        .message.startswith("gives 122 tok/s (measured: on x86_64 AMD EPYC 2")
    )
    assert of(advice, "small@1-q4_1").rejections[0].message.endswith("140 asked")


def test_a_smaller_file_is_not_taken_for_a_faster_one() -> None:
    unmeasured = entry("small@1-q4_k_m", length=70 * MIB, quantization="Q4_K_M", parent=F16)
    advice = advise([*SUBJECTS, Subject(unmeasured, [])], wish(min_tok_s=140), ENTRIES)
    found = of(advice, "small@1-q4_k_m")
    assert (found.speed, found.proven, found.rejections) == (None, False, ())
    assert found.rank == 3  # behind all that are known to be fast enough


def test_a_finetune_of_the_same_shape_and_types_is_as_fast_and_that_is_called_a_prediction() -> None:
    tuned = entry("tuned@1", length=88 * MIB, quantization="Q4_0")
    found = of(advise([*SUBJECTS, Subject(tuned, [])], wish(), ENTRIES), "tuned@1")
    assert found.speed is not None
    assert (found.speed.value, found.speed.how) == (209, "predicted")
    assert "small@1-q4_0" in found.speed.why


def test_a_speed_elsewhere_is_carried_over_by_models_of_the_same_type_alone() -> None:
    pi = machine(PI, "pi-1")

    def both(name: str, here: float, there: float, parameters: int) -> Subject:
        one = entry(name, quantization="Q4_0", parameters=parameters)
        return Subject(one, [speed(one, here), speed(one, there, on=pi)])

    asked = entry("asked@1", quantization="Q4_0", parameters=5)
    wanted = Subject(asked, [speed(asked, 100)])
    first, second = both("a@1", 200, 20, 6), both("b@1", 400, 60, 7)
    other_type = entry("c@1", quantization="Q8_0", parameters=8)
    distracting = Subject(other_type, [speed(other_type, 100), speed(other_type, 90, on=pi)])
    wishes = wish(device_class=PI)
    one_pair = advise([wanted, first, distracting], wishes, {})
    assert of(one_pair, "asked@1").speed is None
    two_pairs = advise([wanted, first, second, distracting], wishes, {})
    found = of(two_pairs, "asked@1").speed
    assert found is not None
    assert found.how == "predicted"
    assert found.value == pytest.approx(12.5)
    assert "0.1 to 0.15" in found.why


def test_what_needs_too_much_is_rejected_with_both_numbers() -> None:
    advice = advise(SUBJECTS, wish(memory_bytes=300 * MIB, disk_bytes=100 * MIB), ENTRIES)
    reasons = {each.code: each.message for each in of(advice, "small@1").rejections}
    assert set(reasons) == {"memory", "disk"}
    assert reasons["disk"] == "its file has 258 MiB, 100 MiB given"
    assert "predicted" in reasons["memory"]
    assert reasons["memory"].endswith("300 MiB given")


def test_a_measured_need_counts_but_an_agents_own_foresight_too() -> None:
    measured = Subject(Q4_0, [memory(Q4_0, (2048, 200)), *SUBJECTS[1].figures])
    found = of(advise([measured], wish(memory_bytes=300 * MIB), ENTRIES), "small@1-q4_0")
    assert (found.memory.how, found.memory.value) == ("measured", 200 * MIB)
    assert found.rejections[0].message.startswith(
        "took 200 MiB where it was measured, but an agent foresees 3"
    )
    assert not of(advise([measured], wish(memory_bytes=GIB), ENTRIES), "small@1-q4_0").rejections


def test_memory_measured_at_a_shorter_context_says_nothing_of_a_longer_one() -> None:
    measured = Subject(Q4_0, [memory(Q4_0, (1024, 120))])
    assert (
        of(advise([measured], wish(context_tokens=4096), ENTRIES), "small@1-q4_0").memory.how == "predicted"
    )


def test_context_and_chat_template_are_asked_for() -> None:
    base = entry("base@1", has_chat_template=False, context_length=2048)
    codes = [
        each.code
        for each in of(advise([Subject(base, [])], wish(context_tokens=4096), {}), "base@1").rejections
    ]
    assert codes == ["context", "task"]
    assert not of(advise([Subject(base, [])], wish(task="complete"), {}), "base@1").rejections


def test_without_a_common_measure_of_quality_the_ranking_says_what_stands_in() -> None:
    large = entry("large@1", parameters=600_000_000)
    advice = advise([*SUBJECTS, Subject(large, [])], wish(), ENTRIES)
    assert advice.candidates[0].ref == "large@1"
    assert advice.scale is None
    assert "stand in" in advice.ranked_by


def test_quality_is_compared_among_those_that_fit() -> None:
    large = entry("large@1", length=GIB, parameters=600_000_000)
    advice = advise([*SUBJECTS, Subject(large, [])], wish(memory_bytes=GIB), ENTRIES)
    assert advice.scale is not None
    assert advice.candidates[0].ref == "small@1"


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    advice = advise(SUBJECTS, wish(), ENTRIES)
    assert {c.ref for c in advice.candidates if c.front} == {"small@1", "small@1-q4_0", "small@1-q8_0"}
    assert advice.chart is not None


def test_quantizations_that_nobody_made_are_suggested_with_their_size() -> None:
    sizes = {"Q8_0": 138, "Q5_K_M": 110, "Q5_1": 107, "Q4_K_M": 101, "Q4_0": 88, "TQ2_0": 60, "TQ1_0": 55}
    found = suggest([F16, Q4_0], wish(memory_bytes=378 * MIB), lambda _, kind: sizes[kind] * MIB, ENTRIES)
    assert [each.quantization for each in found] == ["Q5_K_M", "Q5_1", "Q4_K_M", "TQ2_0", "TQ1_0"]
    assert [each.quantization for each in found if each.best] == ["Q5_1"]
    assert found[0].command == "skerry model quantize small@1 Q5_K_M"
    assert not found[0].fits


def test_a_file_that_is_as_small_already_is_not_to_be_quantized_again() -> None:
    low = entry("low@1", length=90 * MIB, quantization="Q4_1")
    assert suggest([low], wish(), lambda *_: 100 * MIB, {"low@1": low}) == []

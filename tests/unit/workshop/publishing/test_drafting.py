import tomllib
from pathlib import Path

import pytest

from skerry_controller.artifacts.settings_file import read_acceptance
from skerry_controller.errors import UsageError
from skerry_controller.workshop.comparing import Subject
from skerry_controller.workshop.publishing import (
    Margins,
    draft_acceptance,
    draft_toml,
    model_card,
    parse_margins,
)
from skerry_controller.workshop.publishing.card import MAX_CARD_CHARACTERS
from skerry_protocol.acceptance import Acceptance, acceptance_problem
from skerry_protocol.names import ArtifactRef
from support.workshop_entries import EPYC, MIB, PI, entry, figure, figures, machine, quality, speed

PARENT = entry("small@1", length=258 * MIB, quantization="F16")
ENTRY = entry("small@1-q4_0", length=88 * MIB, quantization="Q4_0", parent=PARENT)
BOTH = Subject(ENTRY, [speed(ENTRY, 200), speed(ENTRY, 20, on=machine(PI, "pi-1"))])


def test_a_floor_is_of_the_slowest_class_that_gets_the_file() -> None:
    for selector, floor in (("", 11.4), ("arch=x86_64", 114.0), ("arch=aarch64,site=lab", 11.4)):
        assert draft_acceptance(BOTH, selector, Margins()).acceptance.min_tokens_per_s == floor


def test_a_class_that_was_not_measured_is_asked_for_no_speed_and_that_is_said() -> None:
    draft = draft_acceptance(BOTH, "arch=riscv64", Margins())
    assert draft.acceptance.min_tokens_per_s is None
    assert "no floor for speed: it was not measured where 'arch=riscv64' matches" in draft.missing[0]


def test_margins_are_taken_from_the_worst_that_was_measured() -> None:
    slow = figure("first_token_ms", 90.0, "ms", threads=1)
    load = figures(ENTRY, "load", slow, figure("first_token_ms", 50.0, "ms", spread=0.2, threads=2))
    margins = Margins(speed=10, first_token=100, memory=50, perplexity=2)
    asked = draft_acceptance(Subject(ENTRY, [speed(ENTRY, 200), load]), "", margins).acceptance
    assert asked.min_tokens_per_s == 171.0  # 190 was the least
    assert asked.max_first_token_ms == 120.0
    need = ENTRY.description.estimate_memory_bytes(context_tokens=2048)
    assert asked.max_memory_bytes is not None
    assert 1.5 * need <= asked.max_memory_bytes < 1.5 * need + MIB
    assert asked.perplexity is not None
    assert asked.perplexity.max_increase_percent == 2
    assert acceptance_problem(asked) is None


def test_figures_of_one_class_alone_can_be_asked_for() -> None:
    assert draft_acceptance(BOTH, "", Margins(), EPYC).acceptance.min_tokens_per_s == 114.0


def test_the_draft_is_a_file_that_says_where_its_numbers_come_from(tmp_path: Path) -> None:
    draft = draft_acceptance(BOTH, "arch=x86_64", Margins())
    text = draft_toml(draft)
    assert (
        "min_tokens_per_s = 114.0  # 40 % below 190 tok/s on x86_64 AMD EPYC 2 (bench-1, 2026-11-25)" in text
    )
    file = tmp_path / "checks.toml"
    file.write_text(text)
    assert tomllib.loads(text)
    assert read_acceptance(file) == draft.acceptance


def test_margins_are_read_by_name() -> None:
    assert parse_margins(["speed=30", "first-token = 100%"]) == Margins(speed=30, first_token=100)


@pytest.mark.parametrize("text", ["speed", "speed=-1", "speed=abc", "pace=3", "memory=5000", "speed=100"])
def test_other_margins_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="margin"):
        parse_margins([text])


def test_a_card_says_what_it_is_where_it_comes_from_and_what_was_measured() -> None:
    subject = Subject(ENTRY, [*BOTH.figures, quality(ENTRY, 25.4)])
    card = model_card(ArtifactRef("assistant", "1"), [("", subject, Acceptance(min_tokens_per_s=9.0))], "MIT")
    assert card.startswith("# assistant@1\n")
    assert "made of `small@1` by quantize" in card
    assert (
        "| generation_tok_s | 200 tok/s | threads 2, batch 1, depth 0 | x86_64 AMD EPYC 2 | 2026-11-25 |"
        in card
    )
    assert "| perplexity | 25.4 | walden@1 |" in card
    assert "at least 9 tok/s" in card


def test_a_card_without_a_licence_says_so() -> None:
    card = model_card(ArtifactRef("assistant", "1"), [("", BOTH, Acceptance())], None)
    assert "**Not stated.**" in card


def test_a_card_stays_small_enough_to_travel() -> None:
    many = Subject(
        ENTRY, [speed(ENTRY, 100 + n, at=f"2026-11-{n % 28 + 1:02}T00:00:00Z") for n in range(200)]
    )
    card = model_card(ArtifactRef("assistant", "1"), [("", many, Acceptance())], "MIT")
    assert len(card) <= MAX_CARD_CHARACTERS
    assert card.endswith("(cut: the library has the rest)\n")

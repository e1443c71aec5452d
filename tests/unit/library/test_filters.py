from pathlib import Path
from typing import Any

import pytest

from skerry_controller.errors import UsageError
from skerry_controller.workshop.library import EntryFilter, Facts, Library
from skerry_controller.workshop.library.families import family_in_name, family_of
from skerry_controller.workshop.library.filters import format_count, parse_range
from skerry_controller.workshop.library.labels import model_labels, model_selector
from skerry_protocol.errors import NameSyntaxError
from support.library import add_tiny

SMOL = Facts(
    parameters=135_000_000,
    family="SmolLM2",
    license="apache-2.0",
    quantization=("Q4_K_M", "Q4_K"),
    context=8192,
)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("0.1B-1.4B", (100_000_000, 1_400_000_000)),
        ("500M-", (500_000_000, None)),
        ("-3b", (None, 3_000_000_000)),
        (" 135000000 - 1B ", (135_000_000, 1_000_000_000)),
    ],
)
def test_ranges_of_parameters_are_read(text: str, ends: tuple[int | None, int | None]) -> None:
    assert parse_range(text) == ends


@pytest.mark.parametrize("text", ["", "-", "1B", "2B-1B", "x-1B", "1-2-3", "1G-2G"])
def test_other_ranges_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_range(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(134_515_008, "135M"), (1_400_000_000, "1.4B"), (999_900_000, "1B"), (500, "500"), (None, None)],
)
def test_counts_are_short(count: int | None, text: str | None) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, True),
        ({"params": "0.1B-1.4B"}, True),
        ({"params": "-0.1B"}, False),
        ({"size_class": "micro"}, True),
        ({"size_class": "small"}, False),
        ({"family": "smollm-2"}, True),
        ({"family": "SmolLM"}, False),
        ({"license_id": "Apache-2.0"}, True),
        ({"license_id": "mit"}, False),
        ({"quantization": "q4_k"}, True),
        ({"quantization": "Q4_K_M"}, True),
        ({"quantization": "Q4_0"}, False),
        ({"context": 8192}, True),
        ({"context": 8193}, False),
    ],
)
def test_each_option_chooses(options: dict[str, Any], wanted: bool) -> None:
    assert EntryFilter.parse(**options).matches_facts(SMOL) is wanted


@pytest.mark.parametrize(
    "options",
    [
        {"params": "0-1000B"},
        {"size_class": "micro"},
        {"family": "x"},
        {"license_id": "x"},
        {"quantization": "x"},
        {"context": 1},
    ],
)
def test_a_model_that_does_not_tell_is_left_out(options: dict[str, Any]) -> None:
    assert not EntryFilter.parse(**options).matches_facts(Facts())


def test_a_class_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="below, micro, small, medium, above"):
        EntryFilter.parse(size_class="tiny")


@pytest.mark.parametrize(
    ("architecture", "name", "family"),
    [
        ("llama", "Smollm2 135M 8k Lc100K Mix1 Ep2", "SmolLM2"),
        ("gemma3", "Gemma 3 270m", "Gemma 3"),
        ("qwen3", "whatever", "Qwen3"),
        ("phi3", "Phi 4 Mini Instruct", "Phi-4-mini"),
        ("phi3", "Phi 3 mini", "Phi-3"),
        ("llama", "Llama 3.2 1B Instruct", "Llama"),
        ("llama", "bitnet_b1_58-large", "BitNet"),
        ("bitnet-b1.58", "x", "BitNet"),
        ("llama", "Something else", None),
        ("falcon-h1", "x", None),
    ],
)
def test_families_are_told_by_architecture_and_name(architecture: str, name: str, family: str | None) -> None:
    assert family_of({"general.architecture": architecture, "general.name": name}) == family


def test_the_repository_tells_the_family_where_the_header_does_not() -> None:
    metadata = {"general.architecture": "llama", "general.name": "model"}
    assert family_of(metadata, ("HuggingFaceTB/SmolLM2-135M-Instruct-GGUF",)) == "SmolLM2"


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("gemma-3-270m-it-GGUF", "Gemma 3"),
        ("gemma-3n-E2B", "Gemma 3n"),
        ("Qwen3-0.6B", "Qwen3"),
        ("TinyLlama-1.1B", "TinyLlama"),
        ("Phi-4-mini-instruct", "Phi-4-mini"),
        ("SmolLM2-135M", "SmolLM2"),
        ("mamba-130m", None),
    ],
)
def test_a_name_alone_tells_a_family_too(name: str, family: str | None) -> None:
    assert family_in_name(name) == family


def test_models_are_selected_by_their_labels(tmp_path: Path) -> None:
    with Library.open(tmp_path) as library:
        entry = add_tiny(library, "tiny@1", overrides={"general.name": "SmolLM2 tiny"})
    assert model_labels(entry)["family"] == "smollm2"
    assert model_selector("class=below,family=SmolLM2,quantization!=q4_0")(entry)
    assert not model_selector("quantization=Q4_0")(entry)
    assert model_selector("")(entry)
    with pytest.raises(UsageError, match="models have no label 'site'"):
        model_selector("site=lab")
    with pytest.raises(NameSyntaxError):
        model_selector("class")

"""Looking around on a hub, with the real ``huggingface_hub`` client."""

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from skerry_controller.cli.model import app
from skerry_controller.errors import UsageError, WorldError
from skerry_controller.workshop.importing.finding import Found, Question, check_sort, find_models
from skerry_controller.workshop.library import EntryFilter
from skerry_controller.workshop.progress import StoppedError, StopSign
from support.model_hub import HubRepository, ModelHub
from support.web_files import FileServer, serving

GEMMA = {"total": 268_098_176, "architecture": "gemma3", "context_length": 32768}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    with serving(ModelHub(page=2)) as hub:
        hub.repositories = {
            "a/SmolLM2-135M-GGUF": HubRepository(
                {"SmolLM2-135M-Q4_0.gguf": b"x" * 4000, "SmolLM2-135M-Q8_0.gguf": b"x" * 8000},
                gguf={"total": 134_515_008, "architecture": "llama", "context_length": 8192},
                downloads=10,
            ),
            "b/gemma-3-270m-GGUF": HubRepository(
                {f"gemma-3-270m-F16-0000{n}-of-00002.gguf": b"x" * 5000 for n in (1, 2)},
                license="gemma",
                gguf=GEMMA,
                gated="manual",
                downloads=30,
            ),
            # Its names alone tell what it is.
            "c/Qwen3-4B-GGUF": HubRepository({"Qwen3-4B-Q4_K_M.gguf": b"x" * 9000}, downloads=20),
            "d/broken-gemma-GGUF": HubRepository({"g-00001-of-00002.gguf": b"x"}, gguf=GEMMA, downloads=40),
            "e/gemma-safetensors": HubRepository({"m.safetensors": b"x"}, tags=("safetensors",)),
        }
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def sources(found: list[Found]) -> list[str]:
    return [each.source.removeprefix("hf:") for each in found]


def test_models_are_found_with_size_quantization_and_class(hub: ModelHub) -> None:
    small, large = find_models(Question(text="smollm2"))
    assert small.source == "hf:a/SmolLM2-135M-GGUF:SmolLM2-135M-Q4_0.gguf"
    assert (small.length, small.quantization, small.size_class) == (4000, "Q4_0", "micro")
    assert (small.family, small.license, small.context_length) == ("SmolLM2", "apache-2.0", 8192)
    assert large.quantization == "Q8_0"


def test_the_hub_sorts_and_its_pages_are_turned(hub: ModelHub) -> None:
    assert sources(find_models(Question(text="gguf"))) == [
        "b/gemma-3-270m-GGUF:gemma-3-270m-F16-00001-of-00002.gguf",
        "c/Qwen3-4B-GGUF:Qwen3-4B-Q4_K_M.gguf",
        "a/SmolLM2-135M-GGUF:SmolLM2-135M-Q4_0.gguf",
        "a/SmolLM2-135M-GGUF:SmolLM2-135M-Q8_0.gguf",
    ]
    assert len(sources(find_models(Question(text="gguf", limit=1)))) == 1


def test_parts_are_one_model_and_gates_are_shown(hub: ModelHub) -> None:
    (gemma,) = find_models(Question(text="gemma"))
    assert (gemma.length, len(gemma.files), gemma.gated) == (10_000, 2, True)


@pytest.mark.parametrize(
    ("wanted", "owners"),
    [
        (EntryFilter.parse(params="0.1B-1.4B"), "baa"),
        (EntryFilter.parse(params="2B-"), "c"),  # only its name tells
        (EntryFilter.parse(license_id="GEMMA"), "b"),
        (EntryFilter.parse(family="gemma3"), "b"),
        (EntryFilter.parse(family="qwen3"), "c"),
        (EntryFilter.parse(context=10_000), "b"),
        (EntryFilter.parse(quantization="q8_0"), "a"),
        (EntryFilter.parse(size_class="small"), "c"),
    ],
)
def test_the_filters_of_the_library_choose_on_the_hub(
    hub: ModelHub, wanted: EntryFilter, owners: str
) -> None:
    found = find_models(Question(text="", wanted=wanted))
    assert "".join(each.repository[0] for each in found) == owners


def test_the_task_is_the_hubs_to_filter(hub: ModelHub) -> None:
    assert find_models(Question(text="smol", task="translation")) == []


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(UsageError, match="downloads, likes"):
        check_sort("fame")


def test_looking_can_be_stopped(hub: ModelHub) -> None:
    stop = StopSign()
    stop.stop()
    with pytest.raises(StoppedError):
        find_models(Question(text="gguf"), stop=stop)


def test_without_a_hub_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FileServer()) as gone:
        monkeypatch.setenv("HF_ENDPOINT", gone.url)
    with pytest.raises(WorldError, match=r"no hub can be reached at http://127\.0\.0\.1"):
        find_models(Question(text="gguf"))


def test_the_command_prints_what_import_takes(hub: ModelHub) -> None:
    answer = CliRunner().invoke(app, ["find", "smollm2", "--quantization", "Q4_0"], catch_exceptions=False)
    assert "hf:a/SmolLM2-135M-GGUF:SmolLM2-135M-Q4_0.gguf  micro  135M" in answer.stdout
    answer = CliRunner().invoke(app, ["find", "smollm2", "--json"], catch_exceptions=False)
    assert [each["quantization"] for each in json.loads(answer.stdout)] == ["Q4_0", "Q8_0"]

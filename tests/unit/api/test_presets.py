from pathlib import Path

import pytest

from skerry_agent.api.defaults import conversation
from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.options import ModelOptions, over, read_options
from skerry_agent.api.presets import Preset, PresetMessage, PresetStore, preset_name
from skerry_agent.errors import UsageError
from skerry_agent.runtime import ChatMessage
from skerry_protocol.errors import NameSyntaxError


async def test_presets_survive_and_answer_to_both_names(tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    await PresetStore.load(path).put(Preset("mario", "smol", "You are Mario.", {"temperature": 0.1}))
    again = PresetStore.load(path)
    assert again.get("mario") == again.get("local/mario")
    assert again.get("mario") == Preset("mario", "smol", "You are Mario.", {"temperature": 0.1})
    await again.remove("local/mario")
    assert PresetStore.load(path).all() == []


async def test_a_damaged_file_is_no_preset_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    path.write_bytes(b'{"presets": [{"name": 1')
    assert PresetStore.load(path).all() == []


async def test_a_preset_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shorten"):
        await PresetStore.load(tmp_path / "presets.json").put(Preset("a", "b", "x" * 300_000))


@pytest.mark.parametrize("name", ["mario", "local/mario", "mario@2"])
def test_names_of_presets_follow_the_grammar(name: str) -> None:
    assert preset_name(name) == name.removeprefix("local/")


@pytest.mark.parametrize("name", ["", "Mario", "a/b", "../x", "a@", "a@b@c", "x" * 100, "a b"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(NameSyntaxError):
        preset_name(name)


def test_a_system_prompt_of_the_request_wins() -> None:
    preset = Preset("mario", "smol", "You are Mario.", messages=(PresetMessage("user", "hi"),))
    user = ChatMessage("user", "who?")
    system = ChatMessage("system", "You are Luigi.")
    assert conversation(preset, [user]) == (
        ChatMessage("system", "You are Mario."),
        ChatMessage("user", "hi"),
        user,
    )
    assert conversation(preset, [system, user])[0] == system
    assert conversation(None, [user]) == (user,)


def test_options_of_the_request_win_over_a_presets() -> None:
    both = over(ModelOptions(temperature=0.1, top_k=5), read_options({"temperature": 0.9, "num_gpu": 1}))
    assert both.sampling() == {"temperature": 0.9, "top_k": 5}


@pytest.mark.parametrize(
    "options", [{"temperature": "hot"}, {"stop": [1]}, {"seed": 1.5}, {"top_k": []}, {"num_predict": {}}]
)
def test_options_of_a_wrong_type_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(BadRequestError, match="options"):
        read_options(options)


@pytest.mark.parametrize("options", [{"mirostat": 1}, {"tfs_z": 0.5}])
def test_options_that_would_change_the_answer_but_cannot_be_honoured_are_refused(
    options: dict[str, object],
) -> None:
    with pytest.raises(BadRequestError, match="not supported"):
        read_options(options).sampling()


def test_ollamas_words_for_no_limit_and_any_seed_are_understood() -> None:
    options = read_options({"num_predict": -1, "seed": -1, "temperature": None})
    assert options.max_tokens is None
    assert options.sampling() == {}

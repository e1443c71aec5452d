"""From the library to a controller by ``skerry model publish``."""

import json
from pathlib import Path

import pytest

from skerry_controller.workshop.library import Library
from support.fleet import Controller
from support.library import add_tiny
from support.workshop_entries import speed


@pytest.fixture
def library(tmp_path: Path) -> Path:
    with Library.open(tmp_path / "library") as opened:
        large = add_tiny(opened, "tiny@1")
        add_tiny(opened, "tiny@1-q8_0", quantization="Q8_0")
        add_tiny(opened, "unknown@1", overrides={"general.license": None})
        opened.record(speed(large, 100))
    return tmp_path / "library"


def test_a_model_is_published_with_its_checks_its_card_and_a_variant(
    idle_house: Controller, library: Path
) -> None:
    at = ("--data", library, "--controller", idle_house.data, "--keys", idle_house.keys)
    wish = ("tiny@1", "--as", "shop@1", "--variant", "arch=z80:tiny@1-q8_0")
    shown = idle_house.run("model", "publish", *wish, *at, "--dry-run", check=False)
    assert "min_tokens_per_s = 57.0" in shown
    done = json.loads(idle_house.run("model", "publish", *wish, *at, "--json"))
    assert (done["outcome"], done["next"]) == (
        "published",
        "skerry channel set LINE/TRACK --selector k=v --artifact shop@1",
    )
    found = json.loads(idle_house.run("artifact", "show", "shop@1", "--data", idle_house.data, "--json"))
    assert [file["selector"] for file in found["files"]] == ["arch=z80", ""]
    assert found["target"]["acceptance"]["min_tokens_per_s"] == 57.0
    assert "min_tokens_per_s" not in found["target"]["variants"][0]["acceptance"]
    assert found["description"]["card"] == done["card"]
    again = json.loads(idle_house.run("model", "publish", *wish, *at, "--json"))
    assert again["outcome"] == "unchanged"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing",), "has no nothing"),
        (("tiny@1", "--variant", "arch=z80"), "write SELECTOR:NAME@VERSION"),
        (("tiny@1", "--variant", "arch=z80:unknown"), "different licences"),
        (("tiny@1", "--margin", "speed=200"), "margin"),
        (("tiny@1", "--acceptance", "nowhere.toml"), "cannot read nowhere.toml"),
        (("tiny@1", "--acceptance", "x.toml", "--edit"), "edit that file"),
    ],
)
def test_what_cannot_be_published_is_refused_with_the_reason(
    idle_house: Controller, library: Path, words: tuple[str, ...], message: str
) -> None:
    at = ("--data", library, "--controller", idle_house.data, "--keys", idle_house.keys)
    said = idle_house.run("model", "publish", *words, *at, "--dry-run", check=False)
    assert message in said


def test_a_model_without_a_licence_is_published_with_a_warning(idle_house: Controller, library: Path) -> None:
    at = ("--data", library, "--controller", idle_house.data, "--keys", idle_house.keys)
    said = idle_house.run("model", "publish", "unknown@1", *at, "--dry-run", check=False)
    assert "no licence is stated" in said

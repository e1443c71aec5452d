"""Names that break the grammar, and names that are taken."""

from functools import partial
from pathlib import Path

import pytest

from support.fleet import Controller
from support.refused import Done, agent, at_once, refused, skerry, succeeded
from support.tiny_gguf import write_tiny_gguf

BAD = {
    "noversion": "'noversion' has no version: write NAME@VERSION, such as noversion@1",
    "Upper@1": "'Upper' is not a name: use lower-case letters",
    "../up@1": "'../up' is not a name",
    "name@": "'' is not a version: use letters",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("names")
    return write_tiny_gguf(folder / "one.gguf", seed=21), write_tiny_gguf(folder / "other.gguf", seed=22)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names-state") / "state"


def test_a_name_that_breaks_the_grammar_is_refused(
    lasting_house: Controller, state: Path, files: tuple[Path, Path]
) -> None:
    add = partial(skerry, lasting_house, "artifact", "add")
    keys = ("--keys", lasting_house.keys)
    imports = at_once(*(partial(agent, state, "import", files[0], "--name", name) for name in BAD))
    adds = at_once(*(partial(add, name, files[0], *keys) for name in BAD))
    for said, import_end, add_end in zip(BAD.values(), imports, adds, strict=True):
        refused(import_end, said)
        refused(add_end, said, code=2)


def test_an_import_under_a_taken_name_is_refused_and_the_same_bytes_are_fine(
    state: Path, files: tuple[Path, Path]
) -> None:
    one, other = files
    succeeded(agent(state, "import", one, "--name", "taken@1"))
    refused(
        agent(state, "import", other, "--name", "taken@1"),
        "local/taken@1 exists already with other bytes: import the file under another version",
    )
    succeeded(agent(state, "import", one, "--name", "taken@1"))
    succeeded(agent(state, "import", other, "--name", "taken@2"))


def test_publishing_under_a_taken_name_is_refused_and_the_same_bytes_are_fine(
    lasting_house: Controller, files: tuple[Path, Path]
) -> None:
    def add(file: Path, *options: str) -> Done:
        return skerry(
            lasting_house, "artifact", "add", "taken@1", file, "--keys", lasting_house.keys, *options
        )

    one, other = files
    succeeded(add(one))
    refused(add(other), "taken@1 is published with other bytes: choose a new version")
    refused(add(one, "--license", "MIT"), "taken@1 is published with the same file, but another licence")
    assert "published already, with these very bytes" in succeeded(add(one))
    assert lasting_house.json("artifact", "show", "taken@1")["license"] == "Apache-2.0"


def test_local_is_no_name_for_the_fleet(lasting_house: Controller, files: tuple[Path, Path]) -> None:
    done = skerry(lasting_house, "artifact", "add", "local/a@1", files[0], "--keys", lasting_house.keys)
    refused(done, "local/ is for what a person imports on a device: publish it without that prefix")


UNKNOWN = {
    ("channel", "set", "nochannel", "--selector", "a=b"): "write LINE/TRACK",
    ("channel", "set", "a/b", "--selector", "a b"): "write key=value or key!=value",
    ("rollout", "create", "no/such", "--to", "taken@1"): "there is no channel 'no/such'",
    ("rollout", "watch", "r-nosuch"): "'skerry rollout list' shows them",
    ("device", "show", "d-nosuch"): "'skerry device list' shows them",
    ("token", "revoke", "t-nosuch"): "'skerry token list' shows them",
}


def test_what_does_not_exist_is_said_with_how_to_find_out(lasting_house: Controller) -> None:
    ends = at_once(*(partial(skerry, lasting_house, *command) for command in UNKNOWN))
    for end, said in zip(ends, UNKNOWN.values(), strict=True):
        refused(end, said, code=2 if "LINE/TRACK" in said else 1)

import hashlib

import pytest

from skerry_agent.registry import InstalledArtifact, ModelNotFoundError, Slot
from skerry_agent.registry.naming import resolve
from support.registry import make_artifact


def artifact(ref: str, at: float = 0.0, *, broken: bool = False) -> InstalledArtifact:
    return make_artifact(ref, sha=hashlib.sha256(ref.encode()).hexdigest(), at=at, broken=broken)


SMOL1 = artifact("smol@1", 1)
SMOL2 = artifact("smol@2", 2)
GEMMA = artifact("gemma@1", 3)
MINE1 = artifact("local/mine@1", 4)
MINE2 = artifact("local/mine@2", 5)
SHADOW = artifact("local/smol@9", 6)
ALL = [SHADOW, MINE2, MINE1, GEMMA, SMOL2, SMOL1]
SLOTS = {
    "assistant/beta": Slot("assistant/beta", GEMMA),
    "assistant/stable": Slot("assistant/stable", SMOL1),
    "local/mine": Slot("local/mine", MINE1, MINE2),
    "coder/beta": Slot("coder/beta", GEMMA),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("assistant/stable", SMOL1),
        ("assistant/beta", GEMMA),
        ("assistant", SMOL1),
        ("coder", GEMMA),
        ("smol@2", SMOL2),
        ("smol", SMOL1),  # the one that serves, not the latest
        ("gemma", GEMMA),
        ("local/mine", MINE1),
        ("local/mine@2", MINE2),
        ("mine", MINE1),
        ("mine@2", MINE2),
        ("smol@9", SHADOW),
        ("local/smol", SHADOW),
    ],
)
def test_a_name_means_what_is_expected(name: str, expected: InstalledArtifact) -> None:
    assert resolve(name, SLOTS, ALL) is expected


def test_a_name_that_nobody_has_lists_what_exists() -> None:
    with pytest.raises(ModelNotFoundError, match=r"'nope'.*assistant/stable.*local/mine.*gemma@1"):
        resolve("nope", SLOTS, ALL)
    with pytest.raises(ModelNotFoundError, match="import a model first"):
        resolve("nope", {}, [])


def test_a_local_model_never_satisfies_a_channel() -> None:
    slots = {"local/assistant": Slot("local/assistant", MINE1)}
    with pytest.raises(ModelNotFoundError):
        resolve("assistant/stable", slots, ALL)


def test_the_previous_version_answers_for_one_whose_file_is_gone() -> None:
    gone = artifact("smol@3", 7, broken=True)
    slots = {"assistant/stable": Slot("assistant/stable", gone, SMOL1)}
    assert resolve("assistant", slots, [gone, SMOL1]) is SMOL1
    with pytest.raises(ModelNotFoundError, match="file of smol@3 is missing"):
        resolve("smol@3", slots, [gone, SMOL1])

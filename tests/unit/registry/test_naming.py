import hashlib

import pytest

from skerry_agent.registry import InstalledArtifact, ModelNotFoundError, Slot
from skerry_agent.registry.naming import resolve, resolve_pair
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


GERMAN = make_artifact("german@1", sha="7" * 64, at=7, base=SMOL1.file_sha256)
DUTCH = make_artifact("local/dutch@1", sha="8" * 64, at=8, base=SMOL2.file_sha256)
LOST = make_artifact("lost@1", sha="9" * 64, at=9, base="f" * 64)
ADAPTED = {
    "assistant/stable": Slot("assistant/stable", SMOL1, SMOL2, adapters=(GERMAN,)),
    "local/dutch": Slot("local/dutch", SMOL2, adapters=(DUTCH,)),
}
WITH_ADAPTERS = [*ALL, GERMAN, DUTCH, LOST]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("assistant", "smol@1+german@1"),
        ("assistant/stable", "smol@1+german@1"),
        ("smol@1", "smol@1"),
        ("german", "smol@1+german@1"),
        ("dutch", "smol@2+local/dutch@1"),
        ("local/dutch@1", "smol@2+local/dutch@1"),
        ("smol@1+german", "smol@1+german@1"),
        ("assistant+german@1", "smol@1+german@1"),
    ],
)
def test_a_request_for_a_name_gets_a_model_with_its_adapters(name: str, expected: str) -> None:
    assert resolve_pair(name, ADAPTED, WITH_ADAPTERS).text == expected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lost", "lost@1 is an adapter whose base is not on this device.*ffff"),
        ("smol@2+german", "german@1 was not made for smol@2"),
        ("smol@1+gemma", "gemma@1 is no adapter"),
        ("smol@1+nope", "'nope'"),
        ("smol@1+", "no model is called ''"),
    ],
)
def test_an_adapter_answers_on_its_own_base_only(name: str, reason: str) -> None:
    with pytest.raises(ModelNotFoundError, match=reason):
        resolve_pair(name, ADAPTED, WITH_ADAPTERS)


def test_the_name_of_a_local_slot_is_that_of_the_imported_adapter() -> None:
    assert resolve("dutch", ADAPTED, WITH_ADAPTERS) is DUTCH
    assert resolve("assistant", ADAPTED, WITH_ADAPTERS) is SMOL1


def test_a_slot_whose_adapter_is_broken_answers_with_the_pair_before() -> None:
    gone = make_artifact("german@2", sha="a" * 64, base=SMOL1.file_sha256, broken=True)
    slot = Slot("assistant/stable", SMOL1, SMOL1, adapters=(gone,), previous_adapters=(GERMAN,))
    assert resolve_pair("assistant", {slot.name: slot}, [SMOL1, GERMAN, gone]).text == "smol@1+german@1"

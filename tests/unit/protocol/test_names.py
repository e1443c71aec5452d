import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_protocol.errors import MalformedError, NameSyntaxError
from skerry_protocol.names import (
    ArtifactRef,
    Channel,
    check_device,
    check_sha256,
    new_device_id,
    parse_target_path,
    target_path,
)
from skerry_protocol.selectors import Selector, parse_label
from skerry_protocol.topics import (
    DOWN_LEAVES,
    UP_LEAVES,
    Leaf,
    Topic,
    check_root,
    every_device,
    own_down,
    shared,
)

names = st.from_regex(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?", fullmatch=True)
versions = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,30}[A-Za-z0-9])?", fullmatch=True)
labels = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,10}[A-Za-z0-9])?", fullmatch=True)


@given(names, versions, st.booleans())
def test_a_reference_survives_its_text(name: str, version: str, local: bool) -> None:
    ref = ArtifactRef(name, version, local)
    assert ArtifactRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@",
        "@1",
        "A@1",
        "a b@1",
        "../a@1",
        "a/b@1",
        "a@1/2",
        "-a@1",
        "a@.1",
        "a\n@1",
        "é@1",
        "a" * 65 + "@1",
    ],
)
def test_a_bad_reference_is_refused(text: str) -> None:
    with pytest.raises(NameSyntaxError):
        ArtifactRef.parse(text)


def test_a_reference_without_version_is_answered_with_an_example() -> None:
    with pytest.raises(NameSyntaxError, match=r"smollm2@1"):
        ArtifactRef.parse("smollm2")


@pytest.mark.parametrize("text", ["assistant", "local/x", "a/b/c", "/b", "a/", "A/b"])
def test_a_bad_channel_is_refused(text: str) -> None:
    with pytest.raises(NameSyntaxError):
        Channel.parse(text)


@given(names, versions, st.sampled_from(["model", "config"]))
def test_a_target_path_survives_parsing(name: str, version: str, kind: str) -> None:
    ref = ArtifactRef(name, version)
    role, parsed = parse_target_path(target_path(kind, ref))
    assert (role, parsed) == ({"model": "models", "config": "configs"}[kind], ref)


@pytest.mark.parametrize(
    "path", ["fleet/trust.json", "models/a/1.txt", "models/../1.json", "x/a/1.json", "models/a/b/1.json"]
)
def test_another_path_is_no_artifacts(path: str) -> None:
    with pytest.raises(NameSyntaxError):
        parse_target_path(path)


def test_local_artifacts_have_no_target_path() -> None:
    with pytest.raises(ValueError, match="no target path"):
        target_path("model", ArtifactRef("a", "1", local=True))


def test_device_ids_are_random_and_well_formed() -> None:
    made = {new_device_id() for _ in range(100)}
    assert len(made) == 100
    assert {check_device(one) for one in made} == made
    with pytest.raises(NameSyntaxError):
        check_device("skerry-controller")


@pytest.mark.parametrize("text", ["", "AB" * 32, "ab" * 31, "zz" * 32])
def test_only_lower_case_hex_is_a_hash(text: str) -> None:
    with pytest.raises(NameSyntaxError):
        check_sha256(text)


@given(st.dictionaries(labels, labels, max_size=4))
def test_a_selector_of_a_devices_own_labels_matches_it(own: dict[str, str]) -> None:
    selector = Selector.parse(",".join(f"{k}={v}" for k, v in own.items()))
    assert selector.matches(own)
    assert Selector.parse(str(selector)) == selector


def test_selectors_compare_and_negate() -> None:
    selector = Selector.parse("site=lab, ring!=canary")
    assert selector.matches({"site": "lab"})
    assert selector.matches({"site": "lab", "ring": "late"})
    assert not selector.matches({"site": "lab", "ring": "canary"})
    assert not selector.matches({"ring": "late"})
    assert Selector.parse("").matches({})


@pytest.mark.parametrize("text", ["site", "site=", "=lab", "a==b", "a=b,,c=d", "a=b c", "a>b"])
def test_a_bad_selector_is_refused(text: str) -> None:
    with pytest.raises(NameSyntaxError):
        Selector.parse(text)


@pytest.mark.parametrize("text", ["site", "site!=lab", "=x", "x="])
def test_a_bad_label_is_refused(text: str) -> None:
    with pytest.raises(NameSyntaxError):
        parse_label(text)


@pytest.mark.parametrize("leaf", [*UP_LEAVES, *DOWN_LEAVES])
@pytest.mark.parametrize("root", ["skerry/v1", "x"])
def test_a_topic_survives_its_text(leaf: Leaf, root: str) -> None:
    topic = Topic(new_device_id(), leaf)
    assert Topic.parse(topic.format(root), root) == topic


@pytest.mark.parametrize(
    "text",
    [
        "",
        "skerry/v1",
        "skerry/v1/d-aaaaaaaaaaaaaaaa/up",
        "skerry/v1/d-aaaaaaaaaaaaaaaa/up/desired",
        "skerry/v1/d-aaaaaaaaaaaaaaaa/down/status",
        "skerry/v1/other/up/status",
        "x/d-aaaaaaaaaaaaaaaa/up/status",
        "skerry/v1/d-aaaaaaaaaaaaaaaa/up/status/more",
        "skerry/v1/+/up/status",
    ],
)
def test_another_topic_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        Topic.parse(text)


def test_subscriptions_have_the_forms_of_mqtt() -> None:
    assert every_device("events") == "skerry/v1/+/up/events"
    assert shared("ingest", every_device("events")) == "$share/ingest/skerry/v1/+/up/events"
    assert own_down("d-aaaaaaaaaaaaaaaa") == "skerry/v1/d-aaaaaaaaaaaaaaaa/down/+"


@pytest.mark.parametrize("root", ["", "/x", "x/", "a/+/b", "#", "$SYS", "a//b"])
def test_a_bad_topic_root_is_refused(root: str) -> None:
    with pytest.raises(NameSyntaxError):
        check_root(root)

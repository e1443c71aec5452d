from pathlib import Path

import pytest

from skerry_controller.artifacts.building import build_config, build_model
from skerry_controller.artifacts.checking import describe_target
from skerry_controller.artifacts.settings_file import read_acceptance
from skerry_controller.errors import PeerError, UsageError
from skerry_protocol.config_bundle import decode_config_bundle
from skerry_protocol.manifest import Acceptance, AcceptanceCheck, decode_manifest
from skerry_protocol.names import ArtifactRef
from support.publishing import built_model, sha256, tiny_model

REF = ArtifactRef("tiny", "1")


def test_a_model_is_described_chunked_and_hashed(tmp_path: Path) -> None:
    file = tiny_model(tmp_path)
    seen: list[int] = []
    built = build_model(REF, file, progress=seen.append)
    manifest = decode_manifest(built.content)
    content = file.read_bytes()
    entry = manifest.variants[0].files[0]
    assert (entry.sha256, entry.length) == (sha256(content), len(content))
    assert (built.file_sha256, built.file_length) == (entry.sha256, entry.length)
    for chunk in entry.chunks:
        assert sha256(content[chunk.offset : chunk.offset + chunk.length]) == chunk.sha256
    assert manifest.license == "Apache-2.0"
    assert manifest.description["architecture"] == "llama"
    assert manifest.memory_bytes is not None
    assert manifest.memory_bytes > len(content)
    assert seen[-1] == len(content)
    assert built.target_path == "models/tiny/1.json"


def test_building_twice_gives_the_same_target(tmp_path: Path) -> None:
    assert built_model(tmp_path)[0].content == built_model(tmp_path)[0].content


def test_licence_and_acceptance_can_be_given(tmp_path: Path) -> None:
    acceptance = Acceptance(checks=(AcceptanceCheck(prompt="hi"),), deadline_s=5)
    built = build_model(REF, tiny_model(tmp_path), acceptance=acceptance, license_id="Gemma")
    manifest = decode_manifest(built.content)
    assert (manifest.license, manifest.acceptance) == ("Gemma", acceptance)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"GGUF", "truncated"), (b"PK\x03\x04 a zip file ......", "not a GGUF file")],
)
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(PeerError, match=message) as caught:
        build_model(REF, file)
    assert str(file) in str(caught.value)


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    file = tiny_model(tmp_path)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(PeerError, match="truncated"):
        build_model(REF, file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        build_model(REF, tmp_path / "nothing.gguf")


@pytest.mark.parametrize(
    ("name", "text"),
    [("c.toml", "[log]\nlevel = 'debug'\n"), ("c.json", '{"log": {"level": "debug"}}')],
)
def test_a_config_bundle_is_made_of_toml_or_json(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    built = build_config(REF, tmp_path / name)
    assert decode_config_bundle(built.content).settings == {"log": {"level": "debug"}}
    assert (built.target_path, built.file_sha256) == ("configs/tiny/1.json", None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.toml", "level = 'debug'", "sections"),
        ("c.toml", "[log", "not valid TOML"),
        ("c.json", "[1]", "must hold a mapping"),
        ("c.json", "{", "not valid JSON"),
        ("c.toml", "[log]\nwhen = 2020-01-01", "sections"),
    ],
)
def test_what_is_no_config_bundle_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        build_config(REF, tmp_path / name)


def test_acceptance_checks_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('deadline_s = 9.5\n[[checks]]\nprompt = "hi"\ncontains = ["x"]\n')
    acceptance = read_acceptance(file)
    assert acceptance.deadline_s == 9.5
    assert acceptance.checks[0].contains == ("x",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[checks]]\npromt = 'x'", "promt|prompt"),
        ("checks = []", "no check"),
        ("[[checks]]\nprompt = 'x'\nmax_tokens = 0", "check 1 needs"),
        ("deadline_s = 0\n[[checks]]\nprompt = 'x'", "deadline_s"),
    ],
)
def test_wrong_acceptance_checks_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_acceptance(file)


def test_a_target_must_say_what_its_path_says(tmp_path: Path) -> None:
    content = built_model(tmp_path)[0].content
    assert describe_target("models/tiny/1.json", content).name == "tiny"
    for path in ("models/tiny/2.json", "models/other/1.json"):
        with pytest.raises(PeerError, match="belongs at models/tiny/1"):
            describe_target(path, content)
    for path in ("configs/tiny/1.json", "fleet/other.json", "models/tiny.json"):
        with pytest.raises(PeerError):
            describe_target(path, content)

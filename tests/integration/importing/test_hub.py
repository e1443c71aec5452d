"""The real ``huggingface_hub`` client against a server that speaks the hub's HTTP API."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry_controller.errors import ControllerError, NotFoundError, PeerError, UsageError, WorldError
from skerry_controller.workshop.importing.errors import GatedError
from skerry_controller.workshop.library import Library, Licence
from support.importing import fetch, partial_files
from support.model_hub import COMMIT, HubRepository, ModelHub
from support.web_files import FileServer, serving

REPOSITORY = "maker/SmolLM2-tiny-GGUF"
TOKEN = "hf_of_a_test"  # noqa: S105 - of a test


@pytest.fixture
def hub(model_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    with serving(ModelHub()) as hub:
        hub.repositories[REPOSITORY] = HubRepository(
            {"README.md": b"# tiny", "tiny-F16.gguf": model_bytes, "mmproj-tiny.gguf": b"x" * 100}
        )
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
        yield hub


def test_the_only_model_of_a_repository_comes_with_its_licence_and_commit(
    hub: ModelHub, library: Library, model_bytes: bytes
) -> None:
    told: list[str] = []
    entry = fetch(library, f"hf:{REPOSITORY}", ref=None, told=told)
    assert str(entry.ref) == "tiny-f16@1"
    assert (entry.origin.kind, entry.origin.revision) == ("hub", COMMIT)
    assert entry.licence == Licence(id="apache-2.0", source="hub")
    assert entry.family == "SmolLM2"  # only the repository's name tells
    assert told == ["licence: apache-2.0"]
    assert entry.sha256 == hashlib.sha256(model_bytes).hexdigest()


def test_a_model_is_chosen_by_file_or_by_quantization(
    hub: ModelHub, library: Library, model_bytes: bytes
) -> None:
    files = hub.repositories[REPOSITORY].files
    files["tiny-Q8_0.gguf"] = model_bytes
    with pytest.raises(UsageError, match=r"has 2 models, say which.*tiny-F16\.gguf \(\d MiB\)"):
        fetch(library, f"hf:{REPOSITORY}")
    fetch(library, f"hf:{REPOSITORY}:tiny-Q8_0.gguf", ref="by@file")
    fetch(library, f"hf:{REPOSITORY}@main:q8_0", ref="by@type")
    with pytest.raises(NotFoundError, match="has no model 'Q2_K'"):
        fetch(library, f"hf:{REPOSITORY}:Q2_K")


def test_parts_in_a_folder_are_one_model(
    hub: ModelHub, library: Library, shard_bytes: dict[str, bytes]
) -> None:
    hub.repositories[REPOSITORY].files = {f"F16/{name}": data for name, data in shard_bytes.items()}
    assert str(fetch(library, f"hf:{REPOSITORY}", ref=None).ref) == "tiny-f16@1"
    del hub.repositories[REPOSITORY].files["F16/tiny-F16-00002-of-00003.gguf"]
    with pytest.raises(PeerError, match=r"tiny-F16-00002-of-00003\.gguf is missing"):
        fetch(library, f"hf:{REPOSITORY}")


def test_a_broken_download_goes_on_at_the_other_host_without_the_token(
    hub: ModelHub, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.faults.cut_after = [98_304]
    fetch(library, f"hf:{REPOSITORY}")
    at_hub = [headers for _, path, headers in hub.asked if "/resolve/" in path]
    elsewhere = [headers for _, path, headers in hub.asked if path.startswith("/cdn/")]
    assert [headers["Authorization"] for headers in at_hub] == [f"Bearer {TOKEN}"] * 2
    assert [headers.get("Range") for headers in elsewhere] == [None, "bytes=98304-"]
    assert not any("Authorization" in headers for headers in elsewhere)


def test_a_gated_repository_says_what_to_do(
    hub: ModelHub, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = hub.repositories[REPOSITORY]
    gated.gated, gated.readers = "manual", (TOKEN,)
    with pytest.raises(GatedError, match=f"without a token: open {hub.url}/{REPOSITORY} in a browser"):
        fetch(library, f"hf:{REPOSITORY}")
    monkeypatch.setenv("HF_TOKEN", "another")
    with pytest.raises(GatedError, match="with the token that is set"):
        fetch(library, f"hf:{REPOSITORY}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    fetch(library, f"hf:{REPOSITORY}")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hf:maker/nothing", "has no such repository, or it is private"),
        (f"hf:{REPOSITORY}@v9", "no such revision"),
    ],
)
def test_what_the_hub_does_not_have_is_said(hub: ModelHub, library: Library, source: str, words: str) -> None:
    with pytest.raises(NotFoundError, match=words):
        fetch(library, source)


def test_damaged_bytes_are_refused(hub: ModelHub, library: Library) -> None:
    hub.faults.damage = True
    with pytest.raises(PeerError, match="its source says"):
        fetch(library, f"hf:{REPOSITORY}")
    assert partial_files(library) == []


def test_without_a_hub_other_ways_are_named(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FileServer()) as gone:
        monkeypatch.setenv("HF_ENDPOINT", gone.url)
    with pytest.raises(WorldError, match=r"no hub can be reached at .*import from a file") as refused:
        fetch(library, f"hf:{REPOSITORY}")
    assert isinstance(refused.value, ControllerError)


def test_a_repository_without_any_model_is_refused(hub: ModelHub, library: Library) -> None:
    hub.repositories[REPOSITORY].files = {"README.md": b"#"}
    with pytest.raises(PeerError, match="neither a GGUF file nor a safetensors checkpoint"):
        fetch(library, f"hf:{REPOSITORY}")

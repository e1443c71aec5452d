"""A checkpoint that is imported is handed on to the converter."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry_controller.errors import UsageError
from skerry_controller.workshop.importing import Wish, import_model, parse_source
from skerry_controller.workshop.library import Entry, Library, Licence, Origin
from skerry_protocol.names import ArtifactRef
from support.checkpoints import write_checkpoint
from support.importing import QUICK, partial_files
from support.library import add_tiny
from support.model_hub import COMMIT, HubRepository, ModelHub
from support.web_files import serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "Tiny-Llama", "llama")


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    with serving(ModelHub()) as hub:
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        hub.repositories["maker/Tiny-Llama"] = HubRepository({**files, ".gitattributes": b"x"}, license="mit")
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


class Converter:
    """Notes what it is given, and makes a model of nothing."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def __call__(
        self,
        library: Library,
        folder: Path,
        ref: ArtifactRef,
        origin: Origin,
        licence: Licence | None,
        *_: object,
    ) -> Entry:
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.given.append((files, origin, licence))
        return add_tiny(library, str(ref))


def test_a_folder_is_converted_where_it_is(library: Library, folder: Path) -> None:
    converter = Converter()
    entry = import_model(library, Wish(source=parse_source(str(folder))), converter=converter)
    assert str(entry.ref) == "tiny-llama-f16@1"
    ((files, origin, _),) = converter.given
    assert "config.json" in files
    assert (origin.kind, origin.address) == ("converted", str(folder))


def test_a_repository_is_downloaded_and_then_converted(hub: ModelHub, library: Library, folder: Path) -> None:
    converter = Converter()
    wish = Wish(source=parse_source("hf:maker/Tiny-Llama"))
    entry = import_model(library, wish, converter=converter, limits=QUICK)
    assert str(entry.ref) == "tiny-llama-f16@1"
    ((files, origin, licence),) = converter.given
    for path in folder.iterdir():
        assert files[path.name] == path.read_bytes()
    assert (origin.kind, origin.revision) == ("hub", COMMIT)
    assert licence == Licence(id="mit", source="hub")
    assert partial_files(library) == []


def test_without_the_converter_it_says_how_to_get_it_and_keeps_what_came(
    hub: ModelHub, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    wish = Wish(source=parse_source("hf:maker/Tiny-Llama"))
    with pytest.raises(UsageError, match=r"skerry model convert .*/partial/.* --as tiny-llama-f16@1"):
        import_model(library, wish, limits=QUICK)
    assert "config.json" in partial_files(library)
    asked = len(hub.asked)
    import_model(library, wish, converter=Converter(), limits=QUICK)
    assert not any("/resolve/" in path for _, path, _ in hub.asked[asked:])

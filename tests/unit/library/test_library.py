from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry_controller.errors import ConflictError, NotFoundError, PeerError, UsageError
from skerry_controller.workshop.library import (
    Entry,
    Figure,
    Figures,
    Library,
    LibraryBusyError,
    Licence,
    Machine,
)
from skerry_controller.workshop.progress import StoppedError, StopSign
from skerry_protocol.errors import NameSyntaxError
from skerry_protocol.names import ArtifactRef
from support.library import add_tiny, origin_of
from support.tiny_gguf import write_tiny_gguf

TINY = ArtifactRef("tiny", "1")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library") as library:
        yield library


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_gguf(tmp_path / "tiny.gguf")


def files(library: Library) -> list[Path]:
    return sorted(library.folder.glob("files/*/*.gguf"))


def test_a_model_is_copied_in_under_its_digest_and_described(library: Library, model: Path) -> None:
    entry = library.add(model, TINY, origin=origin_of(model))
    assert model.exists()
    assert library.path(entry).read_bytes() == model.read_bytes()
    assert (entry.family, entry.size_class, entry.licence.id) == (None, "below", "apache-2.0")
    assert entry.tensor_types["F16"] > entry.tensor_types["F32"] > 0
    assert library.entries() == [entry]


def test_a_file_within_the_library_is_moved(library: Library) -> None:
    with library.staging() as staging:
        file = write_tiny_gguf(staging / "tiny.gguf")
        library.add(file, TINY, origin=origin_of(file))
        assert not file.exists()
    assert not staging.exists()
    assert len(files(library)) == 1


def test_the_same_content_again_is_the_same_entry(library: Library, model: Path) -> None:
    first = library.add(model, TINY, origin=origin_of(model))
    assert library.add(model, TINY, origin=origin_of(model), licence=Licence("mit")) == first


def test_a_name_that_another_content_has_is_refused(library: Library, model: Path) -> None:
    library.add(model, TINY, origin=origin_of(model))
    with pytest.raises(ConflictError, match="give this one another version"):
        add_tiny(library, "tiny@1", seed=1)
    assert len(files(library)) == 1


def test_two_names_share_one_file_until_both_are_gone(library: Library, model: Path) -> None:
    entry = library.add(model, TINY, origin=origin_of(model))
    library.add(model, ArtifactRef("tiny", "2"), origin=origin_of(model))
    assert len(files(library)) == 1
    library.remove(TINY)
    assert library.path(entry).exists()
    library.record(figures_of(entry))
    library.remove(ArtifactRef("tiny", "2"))
    assert files(library) == []
    assert library.figures(entry) == []
    assert library.entries() == []


def test_a_name_alone_means_its_newest(library: Library) -> None:
    add_tiny(library, "tiny@b")
    newest = add_tiny(library, "tiny@a", seed=1)
    assert library.find("tiny") == newest
    assert library.find("tiny@b").version == "b"


def test_what_is_not_there_is_said_with_what_is(library: Library) -> None:
    with pytest.raises(NotFoundError, match="it is empty"):
        library.find("tiny")
    add_tiny(library, "tiny@1")
    with pytest.raises(NotFoundError, match="it has tiny@1"):
        library.find("tiny@2")
    with pytest.raises(NameSyntaxError):
        library.find("No such name")


def test_what_is_no_model_is_refused_and_leaves_nothing(library: Library, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"not a model")
    with pytest.raises(PeerError, match=r"bad\.gguf"):
        library.add(bad, TINY, origin=origin_of(bad))
    with pytest.raises(UsageError, match="there is no file"):
        library.add(tmp_path / "nothing", TINY, origin=origin_of(bad))
    assert files(library) == []
    assert list((library.folder / "staging").iterdir()) == []


def test_a_tokenizer_of_another_model_is_refused(library: Library, tmp_path: Path) -> None:
    tokens = [f"t{index}" for index in range(300)]
    wrong = write_tiny_gguf(
        tmp_path / "wrong.gguf",
        overrides={"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": [1] * len(tokens)},
    )
    with pytest.raises(PeerError, match="the tokenizer has 300 tokens"):
        library.add(wrong, TINY, origin=origin_of(wrong))


def test_stopping_while_a_file_is_taken_in_leaves_nothing(library: Library, model: Path) -> None:
    stop = StopSign()
    stop.stop()
    with pytest.raises(StoppedError):
        library.add(model, TINY, origin=origin_of(model), stop=stop)
    assert files(library) == []
    assert library.entries() == []


def test_one_writer_at_a_time_and_any_number_of_readers(library: Library) -> None:
    add_tiny(library, "tiny@1")
    with pytest.raises(LibraryBusyError, match="is changing the library"):
        Library.open(library.folder)
    with Library.open(library.folder, read_only=True) as reader:
        assert [str(entry.ref) for entry in reader.entries()] == ["tiny@1"]


def test_reading_a_library_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with Library.open(tmp_path / "nothing", read_only=True) as library:
        assert library.entries() == []
    assert not (tmp_path / "nothing").exists()


def test_a_library_is_no_file(model: Path) -> None:
    with pytest.raises(UsageError, match="is a file"):
        Library.open(model)


def test_opening_removes_what_a_crash_left(tmp_path: Path) -> None:
    with Library.open(tmp_path / "library") as library:
        left = library.folder / "staging" / "old" / "half.gguf"
        left.parent.mkdir()
        left.write_bytes(b"half")
        record = library.folder / "entries" / ".tiny@1.json.x.tmp"
        record.write_bytes(b"{")
    with Library.open(tmp_path / "library"):
        assert not left.parent.exists()
        assert not record.exists()


def test_a_damaged_record_hides_itself_alone(library: Library) -> None:
    add_tiny(library, "tiny@1")
    add_tiny(library, "other@1", seed=1)
    damaged = library.folder / "entries" / "other@1.json"
    damaged.write_text("{")
    assert [str(entry.ref) for entry in library.entries()] == ["tiny@1"]
    assert list(library.unreadable) == [damaged]


def test_figures_are_kept_beside_the_model_newest_first(library: Library) -> None:
    entry = add_tiny(library, "tiny@1")
    library.record(figures_of(entry, "2026-11-25T05:00:00+00:00"))
    library.record(figures_of(entry, "2026-11-25T06:00:00+00:00"))
    found = library.figures(entry)
    assert [each.measured_at[11:13] for each in found] == ["06", "05"]
    figure = found[0].find("generation_tok_s", threads=2)
    assert figure is not None
    assert figure.median == 146.0


def test_a_file_that_vanished_is_said(library: Library) -> None:
    entry = add_tiny(library, "tiny@1")
    library.path(entry).unlink()
    with pytest.raises(NotFoundError, match="is gone"):
        library.path(entry)


def figures_of(entry: Entry, at: str = "2026-11-25T05:00:00+00:00") -> Figures:
    return Figures(
        sha256=entry.sha256,
        kind="speed",
        machine=Machine("host", "x86_64 Xeon 2", "x86_64", "Xeon", 2),
        versions={"skerry": "0.1.0"},
        measured_at=at,
        figures=(Figure("generation_tok_s", "tok/s", 146.0, 140.0, 150.0, 5, {"threads": 2}),),
    )

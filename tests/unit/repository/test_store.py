from collections.abc import Callable
from pathlib import Path

import pytest

from skerry_controller import durable_files
from skerry_controller.errors import WorldError
from skerry_controller.repository import FolderRepositoryStore, RepositoryStore, store
from support.repository import MemoryRepositoryStore

MakeStore = Callable[[Path], RepositoryStore]


@pytest.fixture(params=[FolderRepositoryStore, lambda _: MemoryRepositoryStore()], ids=["folder", "memory"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> RepositoryStore:
    make: MakeStore = request.param
    return make(tmp_path / "repository")


def test_what_was_put_is_got(any_store: RepositoryStore) -> None:
    any_store.put_many({"timestamp.json": b"t", "models/name/abc.1.json": b"m"})
    assert any_store.get("timestamp.json") == b"t"
    assert any_store.get("models/name/abc.1.json") == b"m"


def test_a_later_put_replaces_and_adds(any_store: RepositoryStore) -> None:
    any_store.put_many({"timestamp.json": b"1", "1.root.json": b"r"})
    any_store.put_many({"timestamp.json": b"2"})
    assert any_store.get("timestamp.json") == b"2"
    assert any_store.get("1.root.json") == b"r"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "..",
        "../secret",
        "/etc/passwd",
        "a/../../secret",
        "a//b",
        ".hidden",
        "models",
        "a\0b",
        "a\n",
        "x" * 999,
    ],
)
def test_hostile_and_unknown_names_are_just_not_there(
    any_store: RepositoryStore, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    any_store.put_many({"models/name/abc.1.json": b"m"})
    assert any_store.get(name) is None


@pytest.mark.parametrize("name", ["../x", "/x", "", "a/b/c/d/e", ".x"])
def test_a_bad_name_stores_nothing(any_store: RepositoryStore, name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        any_store.put_many({"1.root.json": b"r", name: b"x"})
    assert any_store.get("1.root.json") is None


def test_a_full_disk_leaves_the_former_state_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FolderRepositoryStore(tmp_path / "repository")
    folder.put_many({"timestamp.json": b"1"})

    def full(path: Path, content: bytes) -> Path:
        if path.name == "3.json":
            raise OSError(28, "No space left on device")
        return durable_files.stage(path, content)

    monkeypatch.setattr(store, "stage", full)
    with pytest.raises(WorldError, match="No space left"):
        folder.put_many({"timestamp.json": b"2", "2.json": b"x", "3.json": b"y"})
    assert [path.name for path in (tmp_path / "repository").iterdir()] == ["timestamp.json"]
    assert folder.get("timestamp.json") == b"1"


def test_the_timestamp_is_renamed_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = Path.replace

    def recorded(self: Path, target: Path) -> Path:
        order.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", recorded)
    FolderRepositoryStore(tmp_path).put_many(
        {"timestamp.json": b"t", "1.snapshot.json": b"s", "1.models.json": b"m"}
    )
    assert order == ["1.snapshot.json", "1.models.json", "timestamp.json"]

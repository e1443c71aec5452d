import os
from pathlib import Path

import pytest

from skerry_agent import durable


def test_a_written_file_has_the_content_and_the_mode(tmp_path: Path) -> None:
    durable.write_atomic(tmp_path / "key", b"one", mode=0o600)
    durable.write_atomic(tmp_path / "key", b"two", mode=0o600)
    assert (tmp_path / "key").read_bytes() == b"two"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_a_failed_write_leaves_the_old_content_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable.write_atomic(tmp_path / "file", b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        durable.write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_file_is_synced_before_it_is_renamed_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        steps.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        steps.append(f"rename {self.name}")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x")
    durable.replace_synced(tmp_path / "a" / "file", tmp_path / "b" / "done")
    assert steps == ["sync file", "rename file", "sync b", "sync a"]
    assert (tmp_path / "b" / "done").read_bytes() == b"x"


def test_folders_are_made_with_their_parents_and_may_exist(tmp_path: Path) -> None:
    made = durable.make_folder(tmp_path / "a" / "b")
    assert durable.make_folder(made).is_dir()


def test_removing_twice_is_fine(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    durable.remove_synced(tmp_path / "file")
    durable.remove_synced(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_at_start_rests_of_interrupted_writes_go(tmp_path: Path) -> None:
    (tmp_path / ".state.json.0badcafe.tmp").write_bytes(b"half")
    durable.write_atomic(tmp_path / "state.json", b"whole")
    durable.settle_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    durable.settle_folder(tmp_path / "nowhere")

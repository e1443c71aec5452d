import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skerry_agent.errors import UsageError, WorldError
from skerry_agent.state import StateFolder


def test_a_folder_is_made_for_its_owner_and_group_alone(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "deep" / "state")
    with state.locked():
        assert state.root.stat().st_mode & 0o007 == 0
        assert not state.enrolled


def test_two_processes_cannot_hold_one_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from skerry_agent.state import StateFolder\n"
        f"with StateFolder(Path({str(tmp_path)!r})).locked(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="another skerry-agent works on"), StateFolder(tmp_path).locked():
            pass
        other.kill()
    with StateFolder(tmp_path).locked():
        pass


def test_a_path_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldError, match="--state"):
        StateFolder(tmp_path / "file" / "state").prepare()


def test_files_that_were_sent_in_before_a_crash_are_dropped(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    with state.locked():
        (state.incoming / "half.gguf").write_bytes(b"x")
    with state.locked():
        assert list(state.incoming.iterdir()) == []


def test_a_start_on_a_full_disk_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateFolder(tmp_path)
    with state.locked():
        (state.incoming / "half.gguf").write_bytes(b"x")

    def refuse(path: Path, *_: object, **__: object) -> None:
        if not path.is_dir():
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with state.locked():
        assert list(state.incoming.iterdir()) == []


def test_a_disk_that_cannot_be_written_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(WorldError, match="Read-only file system; check the disk"),
        StateFolder(tmp_path).locked(),
    ):
        pass

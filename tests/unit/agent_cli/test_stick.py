"""The command's hands on a stick: nothing but regular files of a bundle, and nothing outside of it."""

import os
from pathlib import Path
from typing import Any

import pytest

from skerry_agent.cli import bundle_import
from skerry_agent.cli.bundle_import import import_bundle
from skerry_agent.cli.stick import Stick
from skerry_agent.errors import UsageError, WorldError
from skerry_protocol.errors import NameSyntaxError

NAME = "back/d-aaaaaaaaaaaaaaaa/records.bin"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_import, "AWAY_POLL_S", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle = tmp_path / "bundle"
    (bundle / "metadata").mkdir(parents=True)
    (bundle / "bundle.json").write_bytes(b"0123456789")
    (tmp_path / "secret").write_bytes(b"secret")
    return bundle


def test_ranges_are_read_and_what_is_not_there_is_none(folder: Path) -> None:
    stick = Stick(folder)
    assert stick.read("bundle.json", 2, 3) == b"234"
    assert stick.read("bundle.json", 8, 100) == b"89"
    assert stick.read("metadata/timestamp.json", 0, 1) is None
    assert stick.read("targets/" + "a" * 64, 0, 1) is None


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "metadata/../../secret", "metadata", ""])
def test_no_name_leads_out_of_the_bundle(folder: Path, name: str) -> None:
    with pytest.raises((NameSyntaxError, WorldError)):
        Stick(folder).read(name, 0, 10)


def test_links_pipes_and_folders_are_not_read(folder: Path) -> None:
    (folder / "chunks.json").symlink_to(folder.parent / "secret")
    os.mkfifo(folder / "chunks-0001.bin")
    (folder / "targets").symlink_to(folder.parent)
    stick = Stick(folder)
    for name in ("chunks.json", "chunks-0001.bin", "targets/secret"):
        with pytest.raises(WorldError):
            stick.read(name, 0, 10)


def test_a_file_gets_its_name_with_its_last_bytes(folder: Path) -> None:
    stick = Stick(folder)
    stick.write(NAME, b"one ", first=True, last=False)
    assert not (folder / NAME).exists()
    stick.write(NAME, b"two", first=False, last=True)
    assert (folder / NAME).read_bytes() == b"one two"
    stick.write(NAME, b"anew", first=True, last=True)
    assert (folder / NAME).read_bytes() == b"anew"
    assert [path.name for path in (folder / NAME).parent.iterdir()] == ["records.bin"]


def test_a_write_that_broke_off_leaves_what_was_there(folder: Path) -> None:
    stick = Stick(folder)
    stick.write(NAME, b"whole", first=True, last=True)
    stick.write(NAME, b"half", first=True, last=False)
    stick.close()
    assert (folder / NAME).read_bytes() == b"whole"
    Stick(folder).write(NAME, b"next", first=True, last=True)
    assert (folder / NAME).read_bytes() == b"next"


@pytest.mark.parametrize("name", ["bundle.json", "desired/d-aaaaaaaaaaaaaaaa.json", "../back/x"])
def test_nothing_is_written_but_what_goes_back(folder: Path, name: str) -> None:
    with pytest.raises((NameSyntaxError, WorldError)):
        Stick(folder).write(name, b"x", first=True, last=True)
    assert (folder / "bundle.json").read_bytes() == b"0123456789"


def test_a_folder_without_a_head_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no bundle"):
        Stick(tmp_path)


class Daemon:
    """Answers a command with scripted steps; an exception is raised in its place."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.answers: list[tuple[str, bytes]] = []
        self.begun = 0

    def call(self, operation: str, **arguments: object) -> dict[str, Any]:
        if operation == "bundle_begin":
            self.begun += 1
            return {"id": str(self.begun)}
        return {"device": "d-aaaaaaaaaaaaaaaa"}

    def import_file(
        self, path: Path, name: str, progress: object, *, base: str | None = None
    ) -> dict[str, Any]:
        raise AssertionError("no file is imported")

    def bundle_turn(self, import_id: str, status: str, body: bytes) -> dict[str, Any]:
        self.answers.append((status, body))
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, dict)
        return step


END = {"do": "end", "outcome": "committed"}


def test_steps_are_done_and_what_cannot_be_done_is_the_answer(folder: Path) -> None:
    daemon = Daemon(
        {"do": "read", "name": "bundle.json", "offset": 0, "length": 3},
        {"do": "read", "name": "chunks.json", "offset": 0, "length": 3},
        {"do": "read", "name": "../secret", "offset": 0, "length": 3},
        {"do": "read", "name": "bundle.json", "offset": 0, "length": 1 << 40},
        {"do": "tell", "slots": {}, "wanted": []},
        END,
    )
    shown: list[dict[str, Any]] = []
    assert import_bundle(lambda: daemon, folder, None, shown.append) == END
    assert [status for status, _ in daemon.answers] == ["", "ok", "missing", "failed", "failed", "ok"]
    assert daemon.answers[1][1] == b"012"
    assert len(shown) == 1


def test_a_daemon_that_opens_its_rooms_anew_is_asked_again(folder: Path) -> None:
    daemon = Daemon(WorldError("the daemon did not answer"), UsageError("this import is over"), END)
    assert import_bundle(lambda: daemon, folder, None, lambda _: None) == END
    assert daemon.begun == 3


def test_a_daemon_that_goes_away_again_and_again_ends_the_command(folder: Path) -> None:
    daemon = Daemon(*(WorldError("the daemon did not answer") for _ in range(9)))
    with pytest.raises(WorldError, match="did not answer"):
        import_bundle(lambda: daemon, folder, None, lambda _: None)
    assert daemon.begun == 4

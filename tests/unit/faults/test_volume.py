"""What a power cut leaves, by the rules."""

from pathlib import Path

import pytest

from faults.record import Kind, Operation
from faults.volume import POWER_CUTS, Rule, Volume, contents


def operation(
    kind: Kind, path: Path, *, inode: int = 0, error: int = 0, other: str = "", data: bytes = b""
) -> Operation:
    return Operation(kind, error, inode, 0, len(data), str(path), other, data)


class Disk:
    """A folder with one synced file, and operations on it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        (self.root / "old").write_bytes(b"old")
        self.volume = Volume(self.root)
        self._folder = folder

    def tell(self, *operations: Operation) -> None:
        self.volume.tell(operations)

    def write(self, name: str, data: bytes, inode: int = 7) -> None:
        path = self.root / name
        self.tell(
            operation("create", path, inode=inode),
            operation("write", path, inode=inode, data=data),
        )

    def after(self, rule: Rule, seed: int = 0) -> dict[str, bytes]:
        image = self._folder / f"image-{len(list(self._folder.iterdir()))}"
        self.volume.leave(image, rule, seed)
        return contents(image)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ("killed", {"old": b"old", "new": b"data"}),
        ("lost", {"old": b"old"}),
        ("names_only", {"old": b"old", "new": b""}),
        ("zeros", {"old": b"old", "new": bytes(4)}),
        ("content_only", {"old": b"old"}),
    ],
)
def test_what_was_not_synced_goes_by_the_rule(disk: Disk, rule: Rule, left: dict[str, bytes]) -> None:
    disk.write("new", b"data")
    assert disk.after(rule) == left


@pytest.mark.parametrize("rule", POWER_CUTS)
def test_content_and_name_that_were_synced_stay(disk: Disk, rule: Rule) -> None:
    disk.write("new", b"data")
    disk.tell(operation("sync", disk.root / "new", inode=7), operation("sync", disk.root))
    for seed in range(4):
        assert disk.after(rule, seed) == {"old": b"old", "new": b"data"}


def test_a_rename_before_the_content_was_synced_leaves_an_empty_file(disk: Disk) -> None:
    disk.write("new", b"data")
    disk.tell(operation("rename", disk.root / "new", other=str(disk.root / "old")))
    assert disk.after("names_only") == {"old": b""}
    assert disk.after("lost") == {"old": b"old"}


def test_a_sync_that_failed_is_not_made_good_by_the_next(disk: Disk) -> None:
    disk.write("new", b"data")
    disk.tell(
        operation("sync", disk.root / "new", inode=7, error=5),
        operation("sync", disk.root / "new", inode=7),
        operation("sync", disk.root),
    )
    assert disk.after("killed")["new"] == b"data"
    assert disk.after("lost")["new"] == b""


def test_what_is_written_again_after_a_failed_sync_counts(disk: Disk) -> None:
    disk.write("new", b"data")
    disk.tell(
        operation("sync", disk.root / "new", inode=7, error=5),
        operation("write", disk.root / "new", inode=7, data=b"data"),
        operation("sync", disk.root / "new", inode=7),
        operation("sync", disk.root),
    )
    assert disk.after("lost")["new"] == b"data"


def test_a_folder_whose_parent_was_not_synced_is_lost_with_all_in_it(disk: Disk) -> None:
    folder = disk.root / "folder"
    disk.tell(operation("mkdir", folder))
    disk.write("folder/new", b"data")
    disk.tell(operation("sync", folder / "new", inode=7), operation("sync", folder))
    assert disk.after("lost") == {"old": b"old"}
    disk.tell(operation("sync", disk.root))
    assert disk.after("lost") == {"old": b"old", "folder/new": b"data"}

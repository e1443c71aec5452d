"""Versions of metadata on disk."""

from pathlib import Path

from skerry_agent.trust.state import MetadataFiles
from skerry_agent.trust.version_folders import VersionFolders

FILES = MetadataFiles((b"root",), 1, {"timestamp": b"t"}, b"{}")


def test_what_was_never_finished_is_written_again_and_not_linked_to(tmp_path: Path) -> None:
    """Nothing says that its bytes are on the disk: the process may have been killed before it synced them."""
    folders = VersionFolders(tmp_path)
    folders.publish(FILES)
    (tmp_path / "current").unlink()  # as if killed before it was written
    (rest,) = (tmp_path / "versions").iterdir()
    held = (rest / "root-000000.json").open("rb")  # so that its inode is not given to another file
    with held:
        inode = (rest / "root-000000.json").stat().st_ino
        folders.publish(FILES)
        (new,) = (tmp_path / "versions").iterdir()
        assert (new / "root-000000.json").stat().st_ino != inode
    assert folders.read_current().has_same_content(FILES)


def test_of_a_finished_version_files_that_did_not_change_are_linked_to(tmp_path: Path) -> None:
    folders = VersionFolders(tmp_path)
    folders.publish(FILES)
    inode = (tmp_path / "versions" / "1" / "root-000000.json").stat().st_ino
    folders.publish(MetadataFiles((b"root",), 1, {"timestamp": b"t2"}, b"{}"))
    assert (tmp_path / "versions" / "2" / "root-000000.json").stat().st_ino == inode

"""Where the repository's files are kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from skerry_controller.durable_files import make_private_folder, read_file, stage, sync_folder
from skerry_controller.errors import WorldError
from skerry_controller.repository.naming import TIMESTAMP_NAME, is_stored_name


class RepositoryStore(Protocol):
    """Files by the names that TUF clients ask for.

    A reader that starts at ``timestamp.json`` sees either all files of a ``put_many`` or none, after
    a crash too; when it returns, they are durable.
    """

    def get(self, name: str) -> bytes | None:
        """The file, or None when there is none; any text is allowed as a name."""

    def put_many(self, files: Mapping[str, bytes]) -> None:
        """Store all files, or none.

        Raises:
            ValueError: A name breaks the grammar of stored names.
            WorldError: The storage failed; readers still see the former state.
        """


class FolderRepositoryStore:
    """A folder. ``timestamp.json`` is renamed into place after all else is durable.

    What it names is versioned or named by hash, and nothing names a file that a crash left over, so
    a later ``put_many`` may replace it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> bytes | None:
        """The file, or None."""
        if not is_stored_name(name):
            return None
        path = self._folder / name
        return None if path.is_dir() else read_file(path)

    def put_many(self, files: Mapping[str, bytes]) -> None:
        """Store all files, or none."""
        check_names(files)
        staged: dict[Path, Path] = {}
        try:
            for name, content in files.items():
                path = self._folder / name
                make_private_folder(path.parent)
                staged[path] = stage(path, content)
            timestamp = self._folder / TIMESTAMP_NAME
            _rename({path: source for path, source in staged.items() if path != timestamp})
            _rename({path: source for path, source in staged.items() if path == timestamp})
        except OSError as error:
            raise WorldError(
                f"cannot write to {self._folder}: {error.strerror}; check space and permissions"
            ) from error
        finally:
            for source in staged.values():
                source.unlink(missing_ok=True)


def check_names(files: Mapping[str, bytes]) -> None:
    """Refuse names that no reader could ask for.

    Raises:
        ValueError: One breaks the grammar.
    """
    for name in files:
        if not is_stored_name(name):
            raise ValueError(f"{name!r} is not the name of a repository file")


def _rename(staged: Mapping[Path, Path]) -> None:
    for path, source in staged.items():
        source.replace(path)
    for folder in {path.parent for path in staged}:
        sync_folder(folder)

"""A folder is filled below ``.unfinished``; its entries move up when all are there, a chosen one last.

So an interrupted run can be told from a finished one, and its remains can be removed without touching
anything else. The folder itself may be a mount point, or lie where its owner may create nothing.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from skerry_controller.durable_files import make_private_folder, sync_folder
from skerry_controller.errors import UsageError, WorldError


class StagedFolder:
    """One folder that is to be filled whole or not at all.

    ``last`` is the entry whose presence means that the folder is finished; ``entries`` are all that a run
    may leave, and thus all that is removed after an interrupted one.
    """

    def __init__(self, folder: Path, *, entries: Sequence[str], last: str) -> None:
        self._folder = folder
        self._entries = entries
        self._last = last
        self.stage = folder / ".unfinished"

    def prepare(self, purpose: str) -> None:
        """Remove what an interrupted run left; refuse anything else that is there.

        Raises:
            UsageError: The folder has something else in it.
            WorldError: The disk refused.
        """
        if self._folder.exists() and not self._folder.is_dir():
            raise UsageError(f"{self._folder} is a file: choose another folder for the {purpose}")
        if self.stage.exists() and not (self._folder / self._last).exists():
            self.discard()
        if self._folder.exists() and any(self._folder.iterdir()):
            raise UsageError(f"{self._folder} is not empty: choose another folder for the {purpose}")
        make_private_folder(self._folder)
        make_private_folder(self.stage)

    def finish(self) -> None:
        """Move everything to its place.

        Raises:
            WorldError: The disk refused.
        """
        try:
            names = sorted((path.name for path in self.stage.iterdir()), key=lambda name: name == self._last)
            for name in names:
                if name == self._last:
                    sync_folder(self._folder)
                (self.stage / name).rename(self._folder / name)
            sync_folder(self._folder)
            self.stage.rmdir()
        except OSError as error:
            raise WorldError(f"cannot finish {self._folder}: {error.strerror}") from error

    def discard(self) -> None:
        """Remove what a run left. The folder itself stays.

        Raises:
            WorldError: The disk refused.
        """
        try:
            for name in (*self._entries, self.stage.name):
                path = self._folder / name
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise WorldError(
                f"cannot remove what an interrupted run left in {self._folder}: {error.strerror}"
            ) from error

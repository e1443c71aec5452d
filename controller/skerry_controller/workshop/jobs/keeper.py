"""The controller's library: opened when somebody needs it, shared by who needs it at the same time."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from skerry_controller.blobs import FolderBlobStore
from skerry_controller.clock import Clock
from skerry_controller.workshop.library import Library

UPLOADS: Final = "uploads"
"""In the library's folder: files that operators sent, until a job takes them in."""


class LibraryKeeper:
    """Lends the library of a folder. Its lock is held only while somebody changes it.

    Args:
        folder: Of the library; made at the first change.
        clock: Time.

    Attributes:
        uploads: Files on their way into the library.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._guard = threading.Lock()
        self._users = 0
        self._library: Library | None = None
        self.uploads = FolderBlobStore(folder / UPLOADS)

    def discard_uploads(self) -> None:
        """For the start: the jobs that they were for are gone."""
        shutil.rmtree(self._folder / UPLOADS, ignore_errors=True)

    @contextmanager
    def reader(self) -> Iterator[Library]:
        """For looking."""
        with Library.open(self._folder, read_only=True, clock=self._clock) as library:
            yield library

    @contextmanager
    def writer(self) -> Iterator[Library]:
        """For changing; several at the same time share one.

        Raises:
            LibraryBusyError: Another process changes it.
        """
        with self._guard:
            if self._library is None:
                self._library = Library.open(self._folder, clock=self._clock)
            library = self._library
            self._users += 1
        try:
            yield library
        finally:
            with self._guard:
                self._users -= 1
                if not self._users:
                    library.close()
                    self._library = None

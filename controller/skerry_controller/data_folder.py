"""The controller's data folder: where each thing lies, and who may open it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skerry_controller.errors import UsageError
from skerry_controller.folder_lock import locked


class InUseError(UsageError):
    """Another process works on the folder."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths below the folder that ``skerry init`` made."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.root / "controller.db"

    @property
    def keys(self) -> Path:
        """The server's own keys."""
        return self.root / "keys"

    @property
    def authorities(self) -> Path:
        """The two certificate authorities."""
        return self.root / "authorities"

    @property
    def certificates(self) -> Path:
        """Certificates that the authorities issued to the controller itself."""
        return self.root / "certificates"

    @property
    def repository(self) -> Path:
        """The TUF repository."""
        return self.root / "repository"

    @property
    def blobs(self) -> Path:
        """Model files."""
        return self.root / "blobs"

    @property
    def library(self) -> Path:
        """The workshop's models and figures."""
        return self.root / "library"

    @property
    def broker(self) -> Path:
        """The managed broker's files."""
        return self.root / "broker"

    def check(self) -> None:
        """Refuse a folder that ``skerry init`` did not finish.

        Raises:
            UsageError: There is no controller in it.
        """
        if not self.database.exists():
            raise UsageError(
                f"there is no controller in {self.root}: run 'skerry init --data {self.root}' first"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder while the block runs; the lock ends with the process, however it ends.

        Raises:
            InUseError: Another process holds it; names its id.
            WorldError: The lock file cannot be opened.
        """

        def refuse(holder: str) -> InUseError:
            return InUseError(
                f"a controller runs on {self.root} (process {holder}): use its URL, or stop it first"
            )

        with locked(self.root / "controller.lock", refuse):
            yield

"""The state folder: where everything that the agent keeps lies, and who may write there."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skerry_agent import durable
from skerry_agent.errors import UsageError, WorldError


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths below one state folder."""

    root: Path

    @property
    def identity(self) -> Path:
        """The device's key and certificate."""
        return self.root / "identity"

    @property
    def trust(self) -> Path:
        """Verified TUF metadata and trusted time."""
        return self.root / "trust"

    @property
    def trusted_time(self) -> Path:
        """The floor of trusted time."""
        return self.root / "trusted_time.json"

    @property
    def registry(self) -> Path:
        """Models and their catalog."""
        return self.root / "registry"

    @property
    def prefixes(self) -> Path:
        """What models read often, as their saved caches."""
        return self.root / "prefixes"

    @property
    def updates(self) -> Path:
        """State of updates."""
        return self.root / "updates.db"

    @property
    def measurements(self) -> Path:
        """What trials measured of model files on this device."""
        return self.root / "measurements.json"

    @property
    def outbox(self) -> Path:
        """What waits for the controller."""
        return self.root / "outbox.db"

    @property
    def configs(self) -> Path:
        """Settings from the fleet's config bundles."""
        return self.root / "settings.d"

    @property
    def api_tokens(self) -> Path:
        """What is kept of the local API's tokens."""
        return self.root / "api_tokens.json"

    @property
    def presets(self) -> Path:
        """What was made of models by Ollama's ``create`` and ``copy``."""
        return self.root / "presets.json"

    @property
    def pins(self) -> Path:
        """Models that a person pinned."""
        return self.root / "pins.json"

    @property
    def socket(self) -> Path:
        """The administration socket."""
        return self.root / "agent.sock"

    @property
    def incoming(self) -> Path:
        """Files that are being sent in over the socket; emptied at start."""
        return self.root / "incoming"

    @property
    def enrolled(self) -> bool:
        """Whether this device belongs to a fleet."""
        # The second name stands for a moment while a new identity takes the place of an old one.
        folders = (self.identity, self.identity.with_name(f"{self.identity.name}.old"))
        return any((folder / "enrollment.json").exists() for folder in folders)

    def prepare(self) -> None:
        """Make the folder, readable by its owner and group alone.

        Raises:
            WorldError: It cannot be made or written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o750)
        except OSError as error:
            raise WorldError(
                f"cannot make the state folder {self.root}: {error.strerror}; choose another with --state"
            ) from error
        if not os.access(self.root, os.W_OK):
            raise WorldError(
                f"cannot write to the state folder {self.root}: run as its owner, or use --state"
            )

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WorldError(
                f"cannot write to the state folder {self.root}: {error.strerror}; check the disk"
            ) from error

    def _settle(self) -> None:
        trust = (self.trust, self.trust / "versions", self.trust / "targets")
        for folder in (self.root, self.identity, self.configs, *trust):
            durable.settle_folder(folder)
        # Emptied, not made anew: that would take room, and the disk may be full.
        self.incoming.mkdir(exist_ok=True)
        for rest in self.incoming.iterdir():
            rest.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process alone; the lock goes with the process.

        Raises:
            UsageError: Another process holds it.
            WorldError: It cannot be made or written.
        """
        self.prepare()
        with self._disk_errors():
            descriptor = os.open(self.root / "agent.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"another skerry-agent works on {self.root}; stop it first, or use another --state"
                ) from error
            with self._disk_errors():
                self._settle()
            yield
        finally:
            os.close(descriptor)

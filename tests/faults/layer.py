"""Builds the layer between a process and its disk (``preload.c``), and drives it from inside that process."""

import ctypes
import errno
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

SOURCE: Final = Path(__file__).with_name("preload.c")
Mode = Literal["count", "kill", "kill_halfway", "fail_once", "fail_from", "fail_until_freed"]
_MODES: Final[tuple[Mode, ...]] = (
    "count",
    "kill",
    "kill_halfway",
    "fail_once",
    "fail_from",
    "fail_until_freed",
)


def build() -> Path:
    """Compile the layer, once for each version of it, and return the library.

    Raises:
        RuntimeError: It does not compile.
    """
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skerry"
    library = folder / f"faults-{digest}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / library.name
        command = [
            os.environ.get("CC", "cc"),
            "-shared",
            "-fPIC",
            "-O2",
            "-Wall",
            "-o",
            str(made),
            str(SOURCE),
            "-ldl",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the layer does not compile:\n{done.stderr}")
        made.replace(library)
    return library


def environment(*, layered: bool = True) -> Mapping[str, str]:
    """What a process of the walk needs to find its modules, and to have the layer under it."""
    tests = str(Path(__file__).resolve().parents[1])  # where the workers' modules are
    paths = os.pathsep.join(filter(None, (tests, os.environ.get("PYTHONPATH"))))
    found = {**os.environ, "PYTHONPATH": paths}
    return {**found, "LD_PRELOAD": str(build())} if layered else found


@dataclass(frozen=True)
class Death:
    """Where a whole process is to die of SIGKILL: at a write to one of its files, or the sync after it.

    Attributes:
        path: How the file's path ends.
        bytes: What the write has in it; empty for every write.
        on: Die when the write is done, or when it was synced.
        count: At which of them.
        delay_ms: So much later.
    """

    path: str
    bytes: str = ""
    on: Literal["write", "sync"] = "sync"
    count: int = 1
    delay_ms: int = 0

    def environment(self, folder: Path) -> Mapping[str, str]:
        """What a process finds in its environment that dies there; ``folder`` is its state folder."""
        return {
            "LD_PRELOAD": str(build()),
            "FAULTS_STEP_FOLDER": str(folder.resolve()),
            "FAULTS_STEP_PATH": self.path,
            "FAULTS_STEP_BYTES": self.bytes,
            "FAULTS_STEP_ON": self.on,
            "FAULTS_STEP_COUNT": str(self.count),
            "FAULTS_STEP_DELAY_MS": str(self.delay_ms),
        }


class Layer:
    """The layer of this process, which was started with :func:`environment`."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        for name in ("faults_count", "faults_hits"):
            getattr(self._library, name).restype = ctypes.c_long

    def arm(self, folder: Path, record: Path | None, mode: Mode, at: int = 0, failure: int = 0) -> None:
        """Watch what this process does below ``folder`` from now on.

        Args:
            folder: Absolute, without symbolic links.
            record: Where operations are written to.
            mode: What happens at operation ``at``, counted from 1.
            at: 0 for none.
            failure: The errno of a failure.
        """
        error = self._library.faults_arm(
            os.fsencode(folder),
            b"" if record is None else os.fsencode(record),
            _MODES.index(mode),
            ctypes.c_long(at),
            failure,
        )
        if error:
            raise OSError(error, errno.errorcode.get(error, "?"), str(record))

    @property
    def count(self) -> int:
        """Operations so far."""
        return int(self._library.faults_count())

    @property
    def hits(self) -> int:
        """How many operations were made to fail."""
        return int(self._library.faults_hits())

    def heal(self) -> None:
        """Let nothing fail any more."""
        self._library.faults_heal()

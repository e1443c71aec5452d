"""Metadata on disk: each refresh in a folder of its own, and one pointer that is swapped at the end.

::

    trust/initial/           what enrollment verified; written once, kept apart
    trust/versions/7/        a whole verified state
    trust/current            a file that says "7"
    trust/targets/<sha256>   verified targets

A power cut leaves the old pointer or the new one, never a mixture. Files that did not change are hard links
to the version before, so a refresh writes what is new and no more (flash wears). All functions block.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from skerry_agent.durable import fsync_file, fsync_folder, make_folder, write_atomic
from skerry_agent.errors import WorldError
from skerry_agent.trust.state import MetadataFiles
from skerry_protocol.codec import Document

_ROOT = re.compile(r"root-([0-9]{6})\.json")
_RECORD = "refresh.json"
_TRUST_DOCUMENT = "trust-document.json"


class DamagedError(Exception):
    """A stored version is incomplete or cannot be read."""


class _Record(Document, frozen=True):
    """How the files of a version belong together."""

    reference_time: float
    roots_used: int
    roles: tuple[str, ...]


class VersionFolders:
    """The stored versions below one folder. One owner at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._versions = folder / "versions"
        self._current = folder / "current"
        self._initial = folder / "initial"

    def has_any(self) -> bool:
        """Whether this device ever trusted a fleet."""
        return self._initial.is_dir() or self._current.exists()

    def read_initial(self) -> MetadataFiles:
        """What enrollment verified.

        Raises:
            DamagedError: It is not there or not whole.
        """
        return _read_folder(self._initial)

    def read_current(self) -> MetadataFiles:
        """The newest version.

        Raises:
            DamagedError: It is not there or not whole.
        """
        return _read_folder(self._versions / str(self._current_number()))

    def read_known_root(self) -> bytes | None:
        """The initial root alone, which a device never exchanges for another; None when there is none.

        Raises:
            DamagedError: There was one, and it cannot be read any more.
        """
        if not self.has_any():
            return None
        folders = [self._initial]
        with contextlib.suppress(DamagedError):
            folders.append(self._versions / str(self._current_number()))
        for folder in folders:
            with contextlib.suppress(OSError):
                return (folder / "root-000000.json").read_bytes()
        raise DamagedError(f"{self._folder}: the initial root is gone")

    def keep_initial(self, files: MetadataFiles, *, replace: bool) -> None:
        """Keep what enrollment verified.

        Args:
            files: The verified state.
            replace: Also when there is one already that looks whole.

        Raises:
            WorldError: The disk refused.
        """
        with contextlib.suppress(DamagedError):
            self.read_initial()
            if not replace:
                return
        staged = self._folder / "initial.new"
        with _writing(self._folder):
            make_folder(self._folder)
            _remove(staged)
            _write_folder(staged, _named(files), previous=None)
            _remove(self._initial)
            staged.rename(self._initial)
            fsync_folder(self._folder)

    def publish(self, files: MetadataFiles) -> None:
        """Make ``files`` the current version; afterwards it is durable and the old ones are gone.

        Raises:
            WorldError: The disk refused; the version before is still the current one.
        """
        with _writing(self._folder):
            make_folder(self._versions)
            previous: Path | None = None
            try:
                number = self._current_number()
                previous = self._versions / str(number)
            except DamagedError:
                # What lies there was never finished: nothing says that its bytes are on the disk.
                number = max(self._numbers(), default=0)
            new = self._versions / str(number + 1)
            _remove(new)
            _write_folder(new, _named(files), previous=previous)
            fsync_folder(self._versions)
            write_atomic(self._current, f"{number + 1}\n".encode())
        with contextlib.suppress(OSError):  # left-overs cost some space; the next publish tries again
            for other in self._numbers():
                if other != number + 1:
                    _remove(self._versions / str(other))

    def _current_number(self) -> int:
        try:
            return int(self._current.read_text("ascii"))
        except (OSError, ValueError) as error:
            raise DamagedError(f"{self._current}: {error}") from error

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self._versions.iterdir() if path.name.isdecimal()]


def _named(files: MetadataFiles) -> dict[str, bytes]:
    named = {f"root-{index:06}.json": data for index, data in enumerate(files.roots)}
    named |= {f"role-{role}.json": data for role, data in files.roles.items()}
    if files.trust_document is not None:
        named[_TRUST_DOCUMENT] = files.trust_document
    record = _Record(
        reference_time=files.reference_time_s, roots_used=files.roots_used, roles=tuple(files.roles)
    )
    named[_RECORD] = msgspec.json.encode(record)
    return named


def _write_folder(folder: Path, named: Mapping[str, bytes], previous: Path | None) -> None:
    folder.mkdir(mode=0o755)
    for name, data in named.items():
        if previous is None or not _link(previous / name, folder / name, data):
            (folder / name).write_bytes(data)
            fsync_file(folder / name)
    fsync_folder(folder)


def _link(old: Path, new: Path, data: bytes) -> bool:
    try:
        if old.read_bytes() != data:
            return False
        os.link(old, new)
    except OSError:  # not there, or a filesystem without hard links
        return False
    return True


def _read_folder(folder: Path) -> MetadataFiles:
    try:
        record = msgspec.json.decode((folder / _RECORD).read_bytes(), type=_Record)
        numbered = sorted(path for path in folder.iterdir() if _ROOT.fullmatch(path.name))
        roots = tuple(path.read_bytes() for path in numbered)
        roles = {role: (folder / f"role-{role}.json").read_bytes() for role in record.roles}
        trust_document = (folder / _TRUST_DOCUMENT).read_bytes()
    except (OSError, msgspec.DecodeError) as error:
        raise DamagedError(f"{folder}: {error}") from error
    if not 1 <= record.roots_used <= len(roots):
        raise DamagedError(f"{folder}: {len(roots)} roots, {record.roots_used} needed")
    return MetadataFiles(roots, record.roots_used, roles, trust_document, record.reference_time)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorldError(
            f"cannot store metadata in {folder}: {error.strerror}; check free space and permissions"
        ) from error

"""The library folder and its one door."""

import contextlib
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from skerry_controller.clock import Clock, utc_now
from skerry_controller.durable_files import discard_staged, sync_folder
from skerry_controller.errors import ConflictError, NotFoundError, UsageError, WorldError
from skerry_controller.folder_lock import locked
from skerry_controller.workshop.library.entry import Entry, Licence, Lineage, Origin
from skerry_controller.workshop.library.errors import DigestMismatchError, LibraryBusyError
from skerry_controller.workshop.library.figures import Figures
from skerry_controller.workshop.library.inspection import inspect_model
from skerry_controller.workshop.library.intake import hash_in_place, hash_while_copying
from skerry_controller.workshop.library.records import Records
from skerry_controller.workshop.progress import Progress, StopSign, silent
from skerry_protocol.errors import NameSyntaxError
from skerry_protocol.names import ArtifactRef, check_name

_LISTED = 8
_STAMP = "%Y%m%dT%H%M%S"


class Library:
    """Models under their digests, a record for each ``NAME@VERSION``, figures beside them.

    Blocks, and may be used from several threads. One process at a time may change a library; any number
    may read it meanwhile.
    """

    def __init__(self, folder: Path, lock: contextlib.ExitStack, *, clock: Clock) -> None:
        self.folder = folder
        self._lock = lock
        self._clock = clock
        self._writing = threading.Lock()
        self._records = Records(folder / "entries")

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = False, clock: Clock = utc_now) -> Self:
        """Open a library; make it when there is none.

        Args:
            folder: Where it is.
            read_only: Take no lock, make and tidy up nothing; a folder that is missing is an empty library.
            clock: Dates what is added.

        Raises:
            LibraryBusyError: Another process changes it.
            UsageError: The folder is something else.
            WorldError: The disk refused.
        """
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file: a library is a folder")
        with contextlib.ExitStack() as stack:
            if not read_only:
                _make_folders(folder)
                stack.enter_context(locked(folder / "library.lock", lambda holder: _busy(folder, holder)))
                discard_staged(folder / "entries")
                _empty(folder / "staging")
            return cls(folder, stack.pop_all(), clock=clock)

    def close(self) -> None:
        """Let others change it."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def unreadable(self) -> dict[Path, str]:
        """Records that the last :meth:`entries` could not read, with the reason."""
        return self._records.unreadable

    def entries(self) -> list[Entry]:
        """All models, by name and then by age.

        Raises:
            WorldError: The disk refused.
        """
        return sorted(self._records.read_all(Entry), key=lambda entry: (entry.name, entry.added_at))

    def find(self, text: str) -> Entry:
        """The model of ``NAME@VERSION``, or the newest one of ``NAME``.

        Raises:
            NotFoundError: There is none; lists what there is.
            NameSyntaxError: That is no name.
        """
        wanted = ArtifactRef.parse(text) if "@" in text else None
        name = check_name(text) if wanted is None else wanted.name
        entries = self.entries()
        if wanted is not None and wanted.local:
            raise NameSyntaxError(f"{text!r}: local/ is for what a person imports on a device")
        found = [e for e in entries if e.name == name and wanted in (None, e.ref)]
        if not found:
            raise NotFoundError(f"the library {self.folder} has no {text}: {_what_exists(entries)}")
        return found[-1]

    def path(self, entry: Entry) -> Path:
        """The model's GGUF file.

        Raises:
            NotFoundError: Its file is gone.
        """
        path = self._file(entry.sha256)
        if not path.is_file():
            raise NotFoundError(
                f"the file of {entry.ref} is gone from {path}: 'skerry model import {entry.origin.address}' "
                f"brings it back after 'skerry model remove {entry.ref}'"
            )
        return path

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder on the library's filesystem to work in; gone afterwards, however the work ended.

        Raises:
            WorldError: The disk refused.
        """
        folder = self.folder / "staging" / secrets.token_hex(8)
        try:
            folder.mkdir()
        except OSError as error:
            raise WorldError(f"cannot create {folder}: {error.strerror}") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(
        self,
        file: Path,
        ref: ArtifactRef,
        *,
        origin: Origin,
        licence: Licence | None = None,
        lineage: Lineage | None = None,
        hints: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        sha256: str | None = None,
        progress: Progress = silent,
        stop: StopSign | None = None,
    ) -> Entry:
        """Check a model file and take it in. A file within the library's folder is moved, others are copied.

        Args:
            file: A whole GGUF file.
            ref: The name and version that it gets.
            origin: Where it came from.
            licence: Under which licence; None for what the header states.
            lineage: What it was made of.
            hints: Names that may tell the family where the header does not.
            notes: What a reader has to know of it.
            sha256: What the file must hash to, when somebody knows.
            progress: Told the bytes that are hashed.
            stop: Looked at while hashing.

        Returns:
            The new entry, or the one that has this name and this content already.

        Raises:
            PeerError: The file is no model that llama.cpp could load.
            DigestMismatchError: It does not hash to ``sha256``.
            ConflictError: The name and version are taken by another content.
            StoppedError: Somebody asked to stop; nothing was kept.
            WorldError: The disk refused.
        """
        if ref.local:
            raise UsageError(f"{ref}: local/ is for what a person imports on a device; leave it out")
        inspected = inspect_model(file, hints=hints)
        with self.staging() as staging:
            staged, found = self._take(file, staging, progress, stop or StopSign())
            if sha256 not in (None, found):
                raise DigestMismatchError(f"{file.name} has the SHA-256 {found}, not {sha256}: get it again")
            with self._writing:
                there = next((e for e in self.entries() if e.ref == ref), None)
                if there is not None and there.sha256 != found:
                    raise ConflictError(
                        f"{ref} is in the library with another content ({there.sha256[:12]}…, from "
                        f"{there.origin.address}): give this one another version, such as --as {ref.name}@NEW"
                    )
                entry = there or Entry(
                    name=ref.name,
                    version=ref.version,
                    sha256=found,
                    length=staged.stat().st_size,
                    added_at=self.now(),
                    origin=origin,
                    description=inspected.description,
                    family=inspected.family,
                    licence=licence or inspected.licence,
                    lineage=lineage,
                    tensor_types=inspected.tensor_types,
                    notes=notes,
                )
                self._place(staged, found)
                if there is None:
                    self._records.write(str(ref), entry)
        return entry

    def remove(self, ref: ArtifactRef) -> None:
        """Remove a model; its file and figures go with the last name that they have.

        Raises:
            NotFoundError: There is no such model.
            WorldError: The disk refused.
        """
        with self._writing:
            entry = self.find(str(ref))
            path = self._records.path(str(ref))
            try:
                path.unlink()
                sync_folder(path.parent)
                if all(other.sha256 != entry.sha256 for other in self.entries()):
                    self._file(entry.sha256).unlink(missing_ok=True)
                    shutil.rmtree(self._figures(entry.sha256), ignore_errors=True)
            except OSError as error:
                raise WorldError(f"cannot remove {ref}: {error.strerror}") from error

    def record(self, figures: Figures) -> None:
        """Keep a set of figures.

        Raises:
            WorldError: The disk refused.
        """
        folder = self._figures(figures.sha256)
        try:
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)
        except OSError as error:
            raise WorldError(f"cannot create {folder}: {error.strerror}") from error
        name = f"{self._clock().strftime(_STAMP)}-{figures.kind}-{secrets.token_hex(4)}"
        Records(folder).write(name, figures)

    def figures(self, entry: Entry) -> list[Figures]:
        """What was measured of a model's file, the newest first.

        Raises:
            WorldError: The disk refused.
        """
        found = Records(self._figures(entry.sha256)).read_all(Figures)
        return sorted(found, key=lambda figures: figures.measured_at, reverse=True)

    def now(self) -> str:
        """The moment as records write it: ISO 8601 in UTC."""
        return self._clock().isoformat(timespec="milliseconds")

    def _take(self, file: Path, staging: Path, progress: Progress, stop: StopSign) -> tuple[Path, str]:
        if file.resolve().is_relative_to(self.folder.resolve()):
            return file, hash_in_place(file, progress, stop)
        staged = staging / "model.gguf"
        return staged, hash_while_copying(file, staged, progress, stop)

    def _place(self, staged: Path, sha256: str) -> None:
        path = self._file(sha256)
        try:
            if path.is_file():
                staged.unlink()
                return
            path.parent.mkdir(exist_ok=True)
            staged.replace(path)
            path.chmod(0o444)  # a record says what it holds: nobody writes into it by mistake
            sync_folder(path.parent)
            sync_folder(path.parent.parent)
        except OSError as error:
            raise WorldError(f"cannot move the model to {path}: {error.strerror}") from error

    def _file(self, sha256: str) -> Path:
        return self.folder / "files" / sha256[:2] / f"{sha256}.gguf"

    def _figures(self, sha256: str) -> Path:
        return self.folder / "figures" / sha256


def _make_folders(folder: Path) -> None:
    try:
        for name in ("files", "entries", "figures", "partial", "staging"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise WorldError(f"cannot make a library in {folder}: {error.strerror}") from error


def _empty(folder: Path) -> None:
    for rest in folder.iterdir():
        if rest.is_dir():
            shutil.rmtree(rest, ignore_errors=True)
        else:
            rest.unlink(missing_ok=True)


def _busy(folder: Path, holder: str) -> LibraryBusyError:
    return LibraryBusyError(
        f"process {holder} is changing the library {folder}: wait for it, or use the URL of the controller "
        "that runs on it"
    )


def _what_exists(entries: list[Entry]) -> str:
    if not entries:
        return "it is empty; 'skerry model import' fills it"
    names = [str(entry.ref) for entry in entries]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"it has {', '.join(names[:_LISTED])}{more}"

"""A disk in memory that remembers what was synced, and what a power cut would leave of the rest.

POSIX promises little: fsync of a file keeps its content, not its name; fsync of a folder keeps the names in
it, not what they stand for. So content and names are kept or lost apart:

============  =========================================  =====================================
rule          content that was not synced                names that were not synced
============  =========================================  =====================================
killed        there                                      there
lost          gone                                       gone
names_only    gone: as long as it was at the last sync   there
zeros         as long as it is, and zero bytes           there
content_only  there                                      gone
mixed         each write there or gone, by a coin        there or gone, all of them, by a coin
============  =========================================  =====================================

A sync that failed takes the kernel's word back for good (Linux marks such pages clean): what it was to keep
is in memory, and never comes to the disk unless it is written again.
"""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from faults.record import Operation

Rule = Literal["killed", "lost", "names_only", "zeros", "content_only", "mixed"]
POWER_CUTS: Final[tuple[Rule, ...]] = ("lost", "names_only", "zeros", "content_only", "mixed")
SHARED_MEMORY: Final = "-shm"
"""SQLite's index of a WAL is mapped memory; after a crash it makes it anew."""


class File:
    """One inode: what readers see, what is on the disk, and the writes between the two."""

    def __init__(self, content: bytes = b"", *, synced: bool = False) -> None:
        self.live = bytearray(content)
        self.synced = bytearray(content if synced else b"")
        self.pending: list[Operation] = []

    def apply(self, operation: Operation) -> None:
        """Write, truncate or allocate."""
        _apply(self.live, operation)
        self.pending.append(operation)

    def sync(self) -> None:
        """Bring to the disk what was not given up."""
        for operation in self.pending:
            _apply(self.synced, operation)
        self.pending = []

    def give_up(self) -> None:
        """A sync failed."""
        self.pending = []

    def after(self, rule: Rule, coin: random.Random) -> bytes:
        """The content after a crash."""
        if rule in ("killed", "content_only"):
            return bytes(self.live)
        left = bytearray(self.synced)
        if rule == "zeros":
            for operation in self.pending:
                _apply(left, operation._replace(data=bytes(len(operation.data))))
        if rule == "mixed":
            for operation in self.pending:
                if coin.random() < _HALF:
                    _apply(left, operation)
        return bytes(left)


class Folder:
    """Names, as readers see them and as they are on the disk."""

    def __init__(self) -> None:
        self.live: dict[str, File | Folder] = {}
        self.synced: dict[str, File | Folder] = {}

    def after(self, *, names_stay: bool) -> dict[str, "File | Folder"]:
        """The names after a crash."""
        return self.live if names_stay else self.synced


_HALF: Final = 0.5


class Volume:
    """Everything below one folder. Begin with what is there, then tell it the operations."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = _take(root)
        self._open: dict[int, File] = {}
        for path, file in _files(self._top, root):
            self._open[path.stat().st_ino] = file

    def tell(self, operations: Iterable[Operation]) -> None:
        """Follow operations; those that failed changed nothing, but for failed syncs."""
        for operation in operations:
            if operation.error:
                if operation.kind == "sync" and operation.inode in self._open:
                    self._open[operation.inode].give_up()
            elif operation.kind in ("write", "truncate", "allocate"):
                self._content(operation)
            elif operation.kind == "sync":
                self._sync(operation)
            else:
                self._names(operation)

    def leave(self, target: Path, rule: Rule, seed: int = 0) -> None:
        """Write what a crash leaves into a new folder."""
        coin = random.Random(seed)  # noqa: S311 - repeatable
        # File systems keep the order of names in a journal: a rename is never half there.
        stay = coin.random() < _HALF if rule == "mixed" else rule in ("killed", "names_only", "zeros")
        _leave(self._top, target, rule, coin, names_stay=stay)

    def _content(self, operation: Operation) -> None:
        self._open[operation.inode].apply(operation)

    def _sync(self, operation: Operation) -> None:
        found = self._find(operation.path)
        if isinstance(found, Folder):
            found.synced = dict(found.live)
        else:
            self._open[operation.inode].sync()

    def _names(self, operation: Operation) -> None:
        folder, name = self._parent(operation.path)
        if operation.kind == "create":
            folder.live[name] = self._open[operation.inode] = File()
        elif operation.kind == "mkdir":
            folder.live[name] = Folder()
        elif operation.kind in ("unlink", "rmdir"):
            del folder.live[name]
        elif operation.kind in ("rename", "link"):
            other, new = self._parent(operation.other)
            other.live[new] = folder.live[name]
            if operation.kind == "rename":
                del folder.live[name]

    def _parent(self, path: str) -> tuple[Folder, str]:
        pure = PurePosixPath(path)
        found = self._find(str(pure.parent))
        if not isinstance(found, Folder):
            raise TypeError(f"{pure.parent} is no folder")
        return found, pure.name

    def _find(self, path: str) -> "File | Folder | None":
        found: File | Folder | None = self._top
        for part in PurePosixPath(path).relative_to(self._root).parts:
            if not isinstance(found, Folder):
                return None
            found = found.live.get(part)
        return found


def contents(folder: Path) -> dict[str, bytes]:
    """Name -> content of all files below a folder, shared memory left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(SHARED_MEMORY)
    }


def _take(folder: Path) -> Folder:
    made = Folder()
    for path in folder.iterdir():
        if path.is_dir():
            made.live[path.name] = _take(path)
        elif path.is_file():
            made.live[path.name] = File(path.read_bytes(), synced=True)
    made.synced = dict(made.live)
    return made


def _files(folder: Folder, path: Path) -> Iterator[tuple[Path, File]]:
    for name, found in folder.live.items():
        if isinstance(found, Folder):
            yield from _files(found, path / name)
        else:
            yield path / name, found


def _leave(folder: Folder, target: Path, rule: Rule, coin: random.Random, *, names_stay: bool) -> None:
    target.mkdir()
    for name, found in folder.after(names_stay=names_stay).items():
        if isinstance(found, Folder):
            _leave(found, target / name, rule, coin, names_stay=names_stay)
        elif not name.endswith(SHARED_MEMORY):
            (target / name).write_bytes(found.after(rule, coin))


def _apply(content: bytearray, operation: Operation) -> None:
    if operation.kind == "truncate":
        del content[operation.length :]
        content.extend(bytes(operation.length - len(content)))
        return
    end = operation.offset + operation.length
    content.extend(bytes(max(0, end - len(content))))
    if operation.kind == "write":
        content[operation.offset : end] = operation.data

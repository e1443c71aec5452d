"""Prefixes on the disk: what many requests begin with is there at once after a restart.

A saved prefix holds a prompt in readable form, and the state that llama.cpp computed for it. llama.cpp ends
the process on a state that is not whole, so nothing is handed to it whose SHA-256 is not that of when it was
saved.
"""

import hashlib
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from skerry_agent.durable import TEMPORARY_SUFFIX, write_atomic

MAGIC: Final = b"SKERRYPREFIX1\n"
LENGTHS: Final = struct.Struct(">IQ")
DIGEST_BYTES: Final = 32
MAX_HEAD_BYTES: Final = 4 * 1024 * 1024
SUFFIX: Final = ".prefix"
MARKER: Final = "restoring"
DAY_S: Final = 86_400.0


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a file says about its state.

    Attributes:
        domain: Whose prefix it is.
        tokens: All of it, up to the last that the state holds.
        start: How many of these come before the state: it continues another file's.
    """

    domain: str
    tokens: list[int]
    start: int = 0


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Bounds of the store.

    Attributes:
        max_bytes: All saved prefixes together, of all models; the longest unused go first.
        max_daily_bytes: What may be written within 24 hours, since flash memory wears out.
    """

    max_bytes: int
    max_daily_bytes: int


class PrefixStore:
    """The saved prefixes of one model under one configuration.

    Args:
        folder: Where those of all models are; made when the first is saved.
        key: Everything on which a state depends: model, type of the cache, build of llama.cpp.
        limits: How much.
        wall_clock: Seconds since 1970.
    """

    def __init__(
        self, folder: Path, *, key: str, limits: StoreLimits, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._root = folder
        self._folder = folder / hashlib.sha256(key.encode()).hexdigest()
        self._limits = limits
        self._wall_clock = wall_clock
        self._removed_today = 0

    def has(self, head: Head) -> bool:
        """Whether this prefix is saved already."""
        return self._path(head).exists()

    def save(self, head: Head, state: bytes | bytearray) -> bool:
        """Save a prefix; False when it is too large or today's writes are used up. Blocks.

        Raises:
            OSError: The disk does not take it.
        """
        described = msgspec.msgpack.encode(head)
        body = b"".join((MAGIC, LENGTHS.pack(len(described), len(state)), described, state))
        size = len(body) + DIGEST_BYTES
        if len(described) > MAX_HEAD_BYTES or size > self._limits.max_bytes:
            return False
        if self._written_today() + size > self._limits.max_daily_bytes:
            return False
        for folder in (self._root, self._folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._make_room(size)
        write_atomic(self._path(head), body + hashlib.sha256(body).digest(), mode=0o600)
        return True

    def restore(self, take: Callable[[Head, memoryview], bool]) -> None:
        """Hand over all saved prefixes, the last used first, until ``take`` wants no more (False).

        What is damaged is deleted. When the process ended in the middle the last time, all are: one of them
        may be what ended it. Blocks.
        """
        marker = self._folder / MARKER
        if marker.exists():
            self._log("the last restore did not end; they are deleted")
            self._clear()
        paths = sorted(self._files(self._folder), key=_age)
        if not paths:
            return
        marker.touch(mode=0o600)
        for path in paths:
            found = self._read(path)
            if found is None:
                path.unlink(missing_ok=True)
            elif not take(*found):
                break
        marker.unlink(missing_ok=True)

    def used(self, head: Head) -> None:
        """Note that a saved prefix was of use.

        Raises:
            OSError: It is gone.
        """
        os.utime(self._path(head))

    def forget(self, head: Head) -> None:
        """Delete one that llama.cpp does not take."""
        self._path(head).unlink(missing_ok=True)

    def _path(self, head: Head) -> Path:
        name = hashlib.sha256(msgspec.msgpack.encode(head)).hexdigest()
        return self._folder / f"{name}{SUFFIX}"

    def _read(self, path: Path) -> tuple[Head, memoryview] | None:
        try:
            found = _parse(path.read_bytes()) if path.stat().st_size <= self._limits.max_bytes else None
        except OSError:
            return None
        if found is None:
            self._log("one is damaged; it is deleted")
        return found

    def _files(self, folder: Path) -> Iterator[Path]:
        try:
            yield from (path for path in folder.iterdir() if path.name.endswith(SUFFIX))
        except OSError:
            return

    def _all_files(self) -> list[tuple[float, int, Path]]:
        found = []
        try:
            folders = list(self._root.iterdir())
        except OSError:
            return []
        for folder in folders:
            for path in self._files(folder):
                try:
                    about = path.stat()
                except OSError:
                    continue  # another runner deleted it
                found.append((about.st_mtime, about.st_size, path))
        return sorted(found)

    def _written_today(self) -> int:
        """An upper bound: a prefix that was used today counts as if it had been written today."""
        since = self._wall_clock() - DAY_S
        return self._removed_today + sum(size for mtime, size, _ in self._all_files() if mtime >= since)

    def _make_room(self, size: int) -> None:
        files = self._all_files()
        total = sum(each for _, each, _ in files)
        since = self._wall_clock() - DAY_S
        for mtime, each, path in files:
            if total + size <= self._limits.max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= each
            if mtime >= since:
                self._removed_today += each

    def _clear(self) -> None:
        for path in self._folder.iterdir():
            if path.name.endswith((SUFFIX, TEMPORARY_SUFFIX)) or path.name == MARKER:
                path.unlink(missing_ok=True)

    def _log(self, text: str) -> None:
        sys.stderr.write(f"saved prefixes: {text}\n")


def _parse(data: bytes) -> tuple[Head, memoryview] | None:
    """Head and state of a file that is whole; None for any other."""
    fixed = len(MAGIC) + LENGTHS.size
    body = memoryview(data)[:-DIGEST_BYTES]
    whole = len(body) >= fixed and data.startswith(MAGIC)
    if not whole or hashlib.sha256(body).digest() != data[-DIGEST_BYTES:]:
        return None
    head_bytes, state_bytes = LENGTHS.unpack(body[len(MAGIC) : fixed])
    if fixed + head_bytes + state_bytes != len(body):
        return None
    try:
        head = msgspec.msgpack.decode(body[fixed : fixed + head_bytes], type=Head)
    except msgspec.DecodeError:
        return None
    return head, body[fixed + head_bytes :]


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0

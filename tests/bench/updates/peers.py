"""What else could bring the new file: each on the same pair, each result checked against the new file.

CPU seconds are the device's: rebuilding the file, hashing what arrives where the method does, and hashing
the whole once, as every device must. What the publisher spends is not in them. The device's index of the
old file is taken as given, as ours is.
"""

import hashlib
import mmap
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.updates.content_chunks import cut

MiB: Final = 1 << 20
BLOCK_BYTES: Final = 4 * MiB
HASH_BYTES: Final = 32
LENGTH_BYTES: Final = 4
ZSTD_LEVEL: Final = 3
ZSTD_STRONG_LEVEL: Final = 19
ZSTD_WINDOW_LOG: Final = 30
XDELTA_LEVEL: Final = 9
_LARGEST_XDELTA_WINDOW: Final = 1 << 31


class WrongResultError(RuntimeError):
    """A method did not rebuild the new file."""


@dataclass(frozen=True)
class Pair:
    """What a device has, and what it shall have."""

    old: Path
    new: Path
    new_sha256: str

    @classmethod
    def of(cls, old: Path, new: Path) -> "Pair":
        """A pair of files."""
        return cls(old, new, sha256_of(new))


@dataclass(frozen=True)
class Cost:
    """What an update cost: bytes on the wire, and CPU seconds on the device."""

    wire_bytes: int
    cpu_s: float


Method = Callable[[Pair, Path], Cost]
"""Measures one pair; the folder is empty and may be left full."""


def whole(pair: Pair, folder: Path) -> Cost:
    """The whole file."""
    with _mapped(pair.new) as new:
        began = cpu_s()
        rebuilt = _write(folder, (new[offset : offset + MiB] for offset in range(0, len(new), MiB)))
        return _cost(pair, rebuilt, pair.new.stat().st_size, began)


def whole_zstd(pair: Pair, folder: Path) -> Cost:
    """The whole file, compressed."""
    packed = folder / "packed"
    _run("zstd", "-q", f"-{ZSTD_LEVEL}", "-T0", pair.new, "-o", packed)
    began = cpu_s()
    _run("zstd", "-q", "-d", packed, "-o", folder / "rebuilt")
    return _cost(pair, folder / "rebuilt", packed.stat().st_size, began)


def fixed_blocks(pair: Pair, folder: Path) -> Cost:
    """Blocks of 4 MiB at fixed offsets; the list of their hashes goes first."""
    return _blocks(pair, folder, _fixed, HASH_BYTES)


def content_chunks(pair: Pair, folder: Path) -> Cost:
    """Content-defined chunks of 64 KiB on average; the list of hashes and lengths goes first."""
    return _blocks(pair, folder, cut, HASH_BYTES + LENGTH_BYTES)


def zstd_patch(pair: Pair, folder: Path) -> Cost:
    """``zstd --patch-from``."""
    return _zstd_patch(pair, folder, ZSTD_LEVEL)


def zstd_patch_strong(pair: Pair, folder: Path) -> Cost:
    """``zstd --patch-from -19``, which the publisher waits minutes for."""
    return _zstd_patch(pair, folder, ZSTD_STRONG_LEVEL)


def _zstd_patch(pair: Pair, folder: Path, level: int) -> Cost:
    patch = folder / "patch"
    against = (f"--long={ZSTD_WINDOW_LOG}", f"--patch-from={pair.old}")
    _run("zstd", "-q", f"-{level}", "-T0", *against, pair.new, "-o", patch)
    began = cpu_s()
    _run("zstd", "-q", "-d", *against, patch, "-o", folder / "rebuilt")
    return _cost(pair, folder / "rebuilt", patch.stat().st_size, began)


def xdelta(pair: Pair, folder: Path) -> Cost:
    """``xdelta3``, with all of the old file in its window."""
    window = min(max(pair.old.stat().st_size, 1 << 20), _LARGEST_XDELTA_WINDOW)
    options = ("-f", "-B", str(window), "-s", pair.old)
    patch = folder / "patch"
    _run("xdelta3", "-e", f"-{XDELTA_LEVEL}", *options, pair.new, patch)
    began = cpu_s()
    _run("xdelta3", "-d", *options, patch, folder / "rebuilt")
    return _cost(pair, folder / "rebuilt", patch.stat().st_size, began)


METHODS: Final[dict[str, Method]] = {
    "whole file": whole,
    "whole, zstd": whole_zstd,
    "4 MiB blocks": fixed_blocks,
    "64 KiB content-defined": content_chunks,
    "zstd --patch-from": zstd_patch,
    "xdelta3": xdelta,
}


STRONG: Final[dict[str, Method]] = {"zstd --patch-from -19": zstd_patch_strong}


def versions() -> dict[str, str]:
    """What the other methods are, as they run here."""
    return {
        "zstd": f"{_first_line('zstd', '--version')}, level {ZSTD_LEVEL}, --long={ZSTD_WINDOW_LOG}",
        "xdelta3": f"{_first_line('xdelta3', '-V')}, level {XDELTA_LEVEL}, -B the old file's size",
        "content-defined": "gear hash as in xet-core: 64 KiB on average, 8 to 128 KiB",
    }


def missing_programs() -> list[str]:
    """Programs that the bench needs and that are not here."""
    return [name for name in ("zstd", "xdelta3", "sha256sum", "cp") if shutil.which(name) is None]


def cpu_s() -> float:
    """CPU seconds of this process with all its threads, and of the children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def sha256_of(path: Path) -> str:
    """A file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fixed(data: memoryview) -> list[tuple[int, int]]:
    return [(start, min(BLOCK_BYTES, len(data) - start)) for start in range(0, len(data), BLOCK_BYTES)]


def _blocks(
    pair: Pair, folder: Path, cut_up: Callable[[memoryview], Sequence[tuple[int, int]]], listed_bytes: int
) -> Cost:
    with _mapped(pair.old) as old, _mapped(pair.new) as new:
        held = {_digest(old[at : at + size]): (at, size) for at, size in cut_up(old)}
        wanted = [(at, size, _digest(new[at : at + size])) for at, size in cut_up(new)]
        absent = {digest: size for _, size, digest in wanted if digest not in held}
        began = cpu_s()

        def parts() -> Iterator[memoryview]:
            for at, size, digest in wanted:
                place = held.get(digest)
                part = old[place[0] : place[0] + place[1]] if place else new[at : at + size]
                if _digest(part) != digest:
                    raise WrongResultError(f"a block at {at} of {pair.new} is another")
                yield part

        rebuilt = _write(folder, parts())
        return _cost(pair, rebuilt, sum(absent.values()) + listed_bytes * len(wanted), began)


def _write(folder: Path, parts: Iterator[memoryview]) -> Path:
    path = folder / "rebuilt"
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
            part.release()
        file.flush()
        os.fsync(file.fileno())
    return path


def _cost(pair: Pair, rebuilt: Path, wire_bytes: int, began: float) -> Cost:
    found = sha256_of(rebuilt)
    spent_s = cpu_s() - began
    if found != pair.new_sha256:
        raise WrongResultError(f"{rebuilt} is not {pair.new}")
    return Cost(wire_bytes, spent_s)


def _digest(data: memoryview) -> bytes:
    return hashlib.sha256(data).digest()


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        # Slices may be alive in a traceback; an mmap that is left to the collector closes itself.
        view = memoryview(mapped)
        try:
            yield view
        finally:
            view.release()


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    if done.returncode:
        raise WrongResultError(f"{command[0]} failed: {done.stderr.decode(errors='replace')[-500:]}")


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[0].strip("* ")

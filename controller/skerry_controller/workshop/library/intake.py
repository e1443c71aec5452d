"""Brings a file's bytes in: hashed on the way, durable afterwards."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from skerry_controller.errors import UsageError, WorldError
from skerry_controller.workshop.progress import Progress, StopSign

_PIECE_BYTES = 4 * 1024 * 1024


def hash_in_place(file: Path, progress: Progress, stop: StopSign) -> str:
    """Hash and sync a file where it is; returns its SHA-256.

    Raises:
        StoppedError: Somebody asked.
        WorldError: The disk refused.
    """
    try:
        with file.open("rb") as stream:
            sha256 = _hash(stream, None, file, progress, stop)
            os.fsync(stream.fileno())
    except OSError as error:
        raise WorldError(f"cannot read {file}: {error.strerror}") from error
    return sha256


def hash_while_copying(file: Path, target: Path, progress: Progress, stop: StopSign) -> str:
    """Copy a file, durably; returns its SHA-256.

    Raises:
        StoppedError: Somebody asked.
        UsageError: There is no such file.
        WorldError: The disk refused.
    """
    try:
        with file.open("rb") as stream, target.open("xb") as copy:
            sha256 = _hash(stream, copy, file, progress, stop)
            copy.flush()
            os.fsync(copy.fileno())
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(f"there is no file {file}") from error
    except OSError as error:
        raise WorldError(f"cannot copy {file} into the library: {error.strerror}") from error
    return sha256


def _hash(stream: BinaryIO, copy: BinaryIO | None, file: Path, progress: Progress, stop: StopSign) -> str:
    what = f"{'hashing' if copy is None else 'copying'} {file.name}"
    total = os.fstat(stream.fileno()).st_size
    digest, done = hashlib.sha256(), 0
    while piece := stream.read(_PIECE_BYTES):
        stop.check()
        digest.update(piece)
        if copy is not None:
            copy.write(piece)
        done += len(piece)
        progress(what, done, total)
    return digest.hexdigest()

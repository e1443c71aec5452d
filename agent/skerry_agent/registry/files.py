"""Model files under their SHA-256, and unfinished ones beside them. All functions block.

``files/sha256/ab/HEX`` are whole and verified, and never change; ``partial/HEX.part`` with its
``partial/HEX.journal`` is a download; ``partial/*.tmp`` is an import or a rest of one.
"""

import hashlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from skerry_agent import durable
from skerry_agent.registry.artifact import Progress
from skerry_agent.registry.disk import Disk
from skerry_protocol.adapter_check import check_adapter_fits, check_adapter_header, is_adapter
from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_check import check_model_header
from skerry_protocol.gguf_header import Buffer, GgufHeader, read_gguf_header
from skerry_protocol.gguf_vocabulary import check_vocabulary
from skerry_protocol.names import check_sha256

PART_SUFFIX = ".part"
JOURNAL_SUFFIX = ".journal"
READ_ONLY = 0o444


class FileStore:
    """The folders of the registry and what lies in them."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.folder = folder
        self.disk = disk
        self._files = folder / "files" / "sha256"
        self._partial = folder / "partial"

    def prepare(self) -> None:
        """Create the folders and remove rests of interrupted imports and downloads."""
        durable.make_folder(self._files)
        durable.make_folder(self._partial)
        for rest in self._partial.glob("*" + durable.TEMPORARY_SUFFIX):
            self.disk.remove(rest)
        for sha256 in list(self.journals()):
            # The file was moved to its place, or is gone: what its journal says is about nothing.
            if not self.part_path(sha256).exists():
                self.disk.remove(self.journal_path(sha256))

    def path(self, sha256: str) -> Path:
        """Where the whole file with this digest lies, or would."""
        check_sha256(sha256)
        return self._files / sha256[:2] / sha256

    def part_path(self, sha256: str) -> Path:
        """Where the unfinished file lies, or would."""
        return self._partial / (check_sha256(sha256) + PART_SUFFIX)

    def journal_path(self, sha256: str) -> Path:
        """Where the journal of the unfinished file lies, or would."""
        return self._partial / (check_sha256(sha256) + JOURNAL_SUFFIX)

    def temporary_path(self, name: str) -> Path:
        """A place for an import, on the same filesystem."""
        return self._partial / (name + durable.TEMPORARY_SUFFIX)

    def adopt(self, source: Path, sha256: str) -> Path:
        """Move a whole, verified file to its place, durably and read-only."""
        target = self.path(sha256)
        durable.make_folder(target.parent)
        source.chmod(READ_ONLY)
        self.disk.replace_synced(source, target)
        return target

    def settle(self, sha256: str) -> None:
        """Make sure that a file keeps its name: who moved it may have been killed before that was so.

        A power cut may also have left its old name, as an unfinished download; that goes.
        """
        path = self.path(sha256)
        durable.fsync_file(path)
        durable.fsync_folder(path.parent)
        durable.fsync_folder(path.parent.parent)
        self.remove_partial(sha256)

    def stored(self) -> Iterator[tuple[str, int]]:
        """Digest and length in bytes of every whole file."""
        for path in self._files.glob("??/*"):
            yield path.name, path.stat().st_size

    def partials(self) -> Iterator[tuple[str, int]]:
        """Digest and allocated bytes of every unfinished download."""
        for path in self._partial.glob("*" + PART_SUFFIX):
            yield path.name.removesuffix(PART_SUFFIX), allocated_bytes(path)

    def journals(self) -> Iterator[str]:
        """Digest of every journal."""
        for path in self._partial.glob("*" + JOURNAL_SUFFIX):
            yield path.name.removesuffix(JOURNAL_SUFFIX)

    def remove_file(self, sha256: str) -> None:
        """Remove a whole file."""
        self.disk.remove(self.path(sha256))

    def remove_partial(self, sha256: str) -> None:
        """Remove an unfinished download, its journal first: it must never speak of another file."""
        self.disk.remove(self.journal_path(sha256))
        self.disk.remove(self.part_path(sha256))

    def length(self, sha256: str) -> int | None:
        """Length of the whole file in bytes, or None when there is none."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None


def allocated_bytes(path: Path) -> int:
    """Bytes that a file takes on the disk; 0 when it is not there."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def hash_file(path: Path, *, block_bytes: int, progress: Progress | None = None) -> str:
    """SHA-256 of a file, lower-case hex, read in blocks."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb", buffering=0) as file:
        total = os.fstat(file.fileno()).st_size
        while block := file.read(block_bytes):
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done, total)
    return digest.hexdigest()


def read_header(buffer: Buffer) -> GgufHeader:
    """Read and check the header of a model or of an adapter.

    Raises:
        ModelFileError: It is damaged, no GGUF, or would make llama.cpp abort.
    """
    header = read_gguf_header(buffer)
    if is_adapter(header):
        check_adapter_header(header)
    else:
        check_model_header(header)
        check_vocabulary(header, buffer)
    return header


def check_model_file(path: Path, base: Path | None = None) -> GgufHeader:
    """Read and check the header of a model or adapter file without reading the rest.

    Args:
        path: The file.
        base: The model file that it was made for, of an adapter; None for a model.

    Raises:
        ModelFileError: It is empty, truncated, damaged, no GGUF, or would make llama.cpp abort; an adapter
            does not fit its base, or has none; a model has one.
    """
    header = _mapped(path)
    if is_adapter(header) != (base is not None):
        raise ModelFileError(
            "the file is a model, not an adapter"
            if base is not None
            else "the file is an adapter, not a model: say which model it was made for"
        )
    if base is not None:
        check_adapter_fits(header, _mapped(base))
    return header


def _mapped(path: Path) -> GgufHeader:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise ModelFileError("the file is empty: get the model again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return read_header(view)

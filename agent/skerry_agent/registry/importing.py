"""Taking a model file from a person: check, copy and hash in one pass, describe. All functions block."""

import hashlib
import mmap
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from skerry_agent.registry.artifact import NewArtifact, Progress
from skerry_agent.registry.errors import ModelRefusedError, disk_errors
from skerry_agent.registry.files import check_model_file
from skerry_protocol.chunking import Span, plan_chunks
from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_check import read_model_header
from skerry_protocol.model_description import describe_model
from skerry_protocol.names import ArtifactRef
from skerry_protocol.records import Value


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A model file that a person wants to import, as its header describes it; ``length`` in bytes."""

    path: Path
    length: int
    spans: Sequence[Span]
    description: Mapping[str, Value]
    license: str | None


def local_ref(text: str) -> str:
    """``local/NAME@VERSION`` for ``[local/]NAME@VERSION``.

    Raises:
        NameSyntaxError: The text is not of that form.
    """
    return str(ArtifactRef.parse(text)._replace(local=True))


def inspect(path: Path) -> SourceFile:
    """Look at the file before it is copied.

    Raises:
        ModelRefusedError: It is not there, no regular file, empty, truncated, damaged or no GGUF model.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelRefusedError(f"{path} is not a file: give the .gguf file itself")
        if status.st_size == 0:
            raise ModelRefusedError(f"{path}: the file is empty: get the model again")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            header = read_model_header(view)
    except OSError as error:
        raise ModelRefusedError(f"cannot read {path}: {error.strerror or error}") from error
    except ModelFileError as error:
        raise ModelRefusedError(f"{path}: {error}") from error
    facts = describe_model(header)
    flat = {k: v for k, v in msgspec.to_builtins(facts).items() if not isinstance(v, dict | list)}
    return SourceFile(path, header.file_length, plan_chunks(header.file_length, header), flat, facts.licence)


def check_import(path: Path, ref: str) -> None:
    """Refuse what the registry would refuse, before a long way to it.

    Raises:
        NameSyntaxError: ``ref`` breaks the grammar.
        ModelRefusedError: The file is unusable.
    """
    local_ref(ref)
    inspect(path)


def copy(source: SourceFile, target: Path, ref: str, progress: Progress | None) -> NewArtifact:
    """Copy the file and hash it and its chunks on the way; the copy is synced when it is moved into place.

    Raises:
        ModelRefusedError: It changed while it was copied, or cannot be read.
        NoSpaceError, StorageError: The disk did not take the copy.
    """
    try:
        reader = source.path.open("rb")
    except OSError as error:
        raise ModelRefusedError(f"cannot read {source.path}: {error.strerror or error}") from error
    with reader, disk_errors("copying to", target, need_bytes=source.length), target.open("xb") as writer:
        os.posix_fallocate(writer.fileno(), 0, source.length)
        new = _hash(source, reader, ref, writer.write, progress)
        complete = writer.tell() == source.length and not reader.read(1)
    _check_copy(source, target, complete=complete)
    return new


def take(source: SourceFile, ref: str) -> NewArtifact:
    """Hash a file that is to become the registry's own, where it lies.

    Raises:
        StorageError: The disk failed.
    """
    with disk_errors("reading", source.path), source.path.open("rb") as reader:
        return _hash(source, reader, ref, lambda _: None, None)


def _hash(
    source: SourceFile,
    reader: BinaryIO,
    ref: str,
    use: Callable[[bytes], object],
    progress: Progress | None,
) -> NewArtifact:
    whole = hashlib.sha256()
    chunks: list[tuple[int, int, str]] = []
    for offset, length in source.spans:
        data = reader.read(length)
        whole.update(data)
        chunks.append((offset, len(data), hashlib.sha256(data).hexdigest()))
        use(data)
        if progress is not None:
            progress(offset + len(data), source.length)
    return NewArtifact(
        ref=ref,
        kind="model",
        file_sha256=whole.hexdigest(),
        length=source.length,
        chunks=chunks,
        description=source.description,
        license=source.license,
    )


def _check_copy(source: SourceFile, target: Path, *, complete: bool) -> None:
    try:
        if complete:
            check_model_file(target)
            return
    except ModelFileError as error:
        raise ModelRefusedError(f"{source.path}: {error}") from error
    raise ModelRefusedError(f"{source.path} changed while it was copied: import it again when it is complete")

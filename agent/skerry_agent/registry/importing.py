"""Taking a model file from a person: check, copy and hash in one pass, describe. All functions block."""

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from skerry_agent.registry.artifact import InstalledArtifact, NewArtifact, Progress
from skerry_agent.registry.errors import ModelRefusedError, disk_errors
from skerry_agent.registry.files import check_model_file
from skerry_protocol.adapter_check import describe_adapter, is_adapter
from skerry_protocol.chunking import Span, plan_chunks
from skerry_protocol.errors import ModelFileError
from skerry_protocol.model_description import describe_model
from skerry_protocol.names import ArtifactRef
from skerry_protocol.records import Value


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that a person wants to import, as its header describes it; ``length`` in bytes."""

    path: Path
    length: int
    spans: Sequence[Span]
    description: Mapping[str, Value]
    license: str | None
    base: InstalledArtifact | None = None
    """The model that an adapter was made for."""


def local_ref(text: str) -> str:
    """``local/NAME@VERSION`` for ``[local/]NAME@VERSION``.

    Raises:
        NameSyntaxError: The text is not of that form.
    """
    return str(ArtifactRef.parse(text)._replace(local=True))


def inspect(path: Path, base: InstalledArtifact | None = None) -> SourceFile:
    """Look at the file before it is copied.

    Args:
        path: A model, or with a base an adapter.
        base: The model that an adapter was made for.

    Raises:
        ModelRefusedError: It is not there, no regular file, empty, truncated, damaged or no GGUF model; or an
            adapter does not fit its base, or has none.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelRefusedError(f"{path} is not a file: give the .gguf file itself")
        if status.st_size == 0:
            raise ModelRefusedError(f"{path}: the file is empty: get the model again")
        header = check_model_file(path, None if base is None else base.path)
    except OSError as error:
        raise ModelRefusedError(f"cannot read {path}: {error.strerror or error}") from error
    except ModelFileError as error:
        raise ModelRefusedError(f"{path}: {error}") from error
    facts = describe_adapter(header) if is_adapter(header) else describe_model(header)
    flat = {k: v for k, v in msgspec.to_builtins(facts).items() if not isinstance(v, dict | list)}
    spans = plan_chunks(header.file_length, header)
    return SourceFile(path, header.file_length, spans, flat, facts.licence, base)


def check_import(path: Path, ref: str, *, adapter: bool = False) -> None:
    """Refuse what the registry would refuse, before a long way to it.

    Args:
        path: The file.
        ref: Its name and version.
        adapter: A base was given, so that it has to be an adapter.

    Raises:
        NameSyntaxError: ``ref`` breaks the grammar.
        ModelRefusedError: The file is unusable.
    """
    local_ref(ref)
    if not adapter:
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
        kind="model" if source.base is None else "adapter",
        file_sha256=whole.hexdigest(),
        length=source.length,
        chunks=chunks,
        description=source.description,
        license=source.license,
        base_sha256=None if source.base is None else source.base.file_sha256,
    )


def _check_copy(source: SourceFile, target: Path, *, complete: bool) -> None:
    try:
        if complete:
            check_model_file(target, None if source.base is None else source.base.path)
            return
    except ModelFileError as error:
        raise ModelRefusedError(f"{source.path}: {error}") from error
    raise ModelRefusedError(f"{source.path} changed while it was copied: import it again when it is complete")

"""From a file to the target that is signed. Runs where the operator's file is, never in the server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from skerry_controller.artifacts.mapped_model import mapped_model
from skerry_controller.artifacts.settings_file import read_settings
from skerry_controller.artifacts.variants import VariantFile, check_variants
from skerry_controller.errors import UsageError
from skerry_protocol.adapter_check import describe_adapter, read_adapter_header
from skerry_protocol.chunking import ChunkedFile, chunk_file, plan_chunks
from skerry_protocol.config_bundle import ConfigBundle, encode_config_bundle
from skerry_protocol.gguf_check import read_model_header
from skerry_protocol.gguf_header import Buffer, GgufHeader
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.manifest import Acceptance, Chunk, FileEntry, Manifest, Variant, encode_manifest
from skerry_protocol.model_description import DEFAULT_CONTEXT_TOKENS, ModelDescription, describe_model
from skerry_protocol.names import ArtifactRef, target_path

_DESCRIBED = (
    "architecture",
    "name",
    "parameters",
    "quantization",
    "dominant_tensor_type",
    "context_length",
    "embedding_length",
    "block_count",
    "tokenizer",
    "vocabulary_size",
    "has_chat_template",
    "weights_bytes",
    "kv_bytes_per_token",
)
_SPDX = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "gpl-3.0": "GPL-3.0-only",
}
"""Ids as model hubs write them, where SPDX writes them in another way."""


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """A file that belongs to an artifact, and where it is. Lengths in bytes."""

    file: Path
    sha256: str
    length: int


@dataclass(frozen=True, slots=True)
class BuiltArtifact:
    """What will be published.

    Attributes:
        target_path: Its TUF target path.
        content: The target: manifest or config bundle.
        file_sha256: The file's hash; None when the target is all there is.
        file_length: The file's length in bytes.
        further: The files of other variants, which are looked at before it.
    """

    ref: ArtifactRef
    kind: str
    target_path: str
    content: bytes
    file_sha256: str | None = None
    file_length: int | None = None
    further: tuple[BuiltFile, ...] = ()


def build_model(
    ref: ArtifactRef,
    file: Path,
    *,
    acceptance: Acceptance | None = None,
    license_id: str | None = None,
    selector: str = "",
    before: Sequence[VariantFile] = (),
    card: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> BuiltArtifact:
    """Check a GGUF file, cut and hash it, and describe it in a manifest.

    Args:
        ref: The artifact's name and version.
        file: The model.
        acceptance: What the model must show on each device; None for a short completion.
        license_id: Instead of the licence that the files' headers give.
        selector: For which devices the file is; empty for all that no variant before it takes.
        before: Other variants, in the order in which devices look at them.
        card: A model card in Markdown; it becomes part of the signed description.
        progress: Called with the number of bytes hashed so far, of all files.

    Raises:
        PeerError: A file is no model, is damaged, or would make llama.cpp abort.
        UsageError: There is no such file, a variant that no device would get, or licences that differ.
    """
    check_variants([*(each.selector for each in before), selector])
    done = 0
    read: list[tuple[ModelDescription, ChunkedFile]] = []
    for path in (*(each.file for each in before), file):
        header, chunked = _read(path, read_model_header, _further(progress, done))
        read.append((describe_model(header), chunked))
        done += chunked.length
    description, chunked = read[-1]
    manifest = Manifest(
        name=ref.name,
        version=ref.version,
        kind="model",
        variants=(Variant(selector=selector, files=(_entry(chunked),)),),
        license=license_id or _common_licence([described for described, _ in read]),
        parameter_class=description.parameter_class,
        memory_bytes=_memory(description),
        description=_facts(description) | ({} if card is None else {"card": card}),
        acceptance=acceptance or Acceptance(),
    )
    others = tuple(_variant(manifest, v, *found) for v, found in zip(before, read, strict=False))
    manifest = msgspec.structs.replace(manifest, variants=others + manifest.variants)
    content = _bounded(encode_manifest(manifest), ref)
    further = tuple(
        BuiltFile(v.file, found.sha256, found.length) for v, (_, found) in zip(before, read, strict=False)
    )
    path_of_target = target_path("model", ref)
    return BuiltArtifact(ref, "model", path_of_target, content, chunked.sha256, chunked.length, further)


def _variant(
    manifest: Manifest, variant: VariantFile, described: ModelDescription, chunked: ChunkedFile
) -> Variant:
    """A variant with what is different from the manifest's own."""
    memory, facts = _memory(described), _facts(described)
    different = {key: value for key, value in facts.items() if manifest.description[key] != value}
    return Variant(
        selector=variant.selector,
        files=(_entry(chunked),),
        memory_bytes=msgspec.UNSET if memory == manifest.memory_bytes else memory,
        description=different or msgspec.UNSET,
        acceptance=msgspec.UNSET if variant.acceptance in (None, manifest.acceptance) else variant.acceptance,
    )


def _memory(description: ModelDescription) -> int:
    context = min(DEFAULT_CONTEXT_TOKENS, description.context_length)
    return description.estimate_memory_bytes(context_tokens=context)


def _facts(description: ModelDescription) -> dict[str, str | int | float | bool | None]:
    return {name: getattr(description, name) for name in _DESCRIBED}


def _common_licence(descriptions: Sequence[ModelDescription]) -> str | None:
    stated = {spdx_id(each.licence) for each in descriptions}
    if len(stated) > 1:
        named = ", ".join(sorted(str(each or "none") for each in stated))
        raise UsageError(f"the variants' files state different licences ({named}): give one with --license")
    return stated.pop()


def _further(progress: Callable[[int], None] | None, before: int) -> Callable[[int], None] | None:
    """Progress of a file after others that are done."""
    return None if progress is None else lambda done: progress(before + done)


def build_adapter(
    ref: ArtifactRef,
    file: Path,
    base_sha256: str,
    *,
    acceptance: Acceptance | None = None,
    license_id: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> BuiltArtifact:
    """As :func:`build_model`, of a LoRA adapter; whether it fits its base is the controller's to check.

    Args:
        ref: The artifact's name and version.
        file: The adapter, a GGUF file.
        base_sha256: Digest of the model file that it was made for.
        acceptance: What base and adapter must show together on each device; None for a short completion.
        license_id: Instead of the licence that the file's header gives.
        progress: Called with the number of bytes hashed so far.

    Raises:
        PeerError: The file is no adapter, is damaged, or would make llama.cpp abort.
        UsageError: There is no such file.
    """
    header, chunked = _read(file, read_adapter_header, progress)
    description = describe_adapter(header)
    manifest = Manifest(
        name=ref.name,
        version=ref.version,
        kind="adapter",
        variants=(Variant(files=(_entry(chunked),)),),
        license=license_id or spdx_id(description.licence),
        memory_bytes=description.weights_bytes,
        description={k: v for k, v in description.to_manifest().items() if k != "licence"},
        acceptance=acceptance or Acceptance(),
        base=base_sha256,
    )
    content = _bounded(encode_manifest(manifest), ref)
    return BuiltArtifact(ref, "adapter", target_path("adapter", ref), content, chunked.sha256, chunked.length)


def build_config(ref: ArtifactRef, file: Path) -> BuiltArtifact:
    """Make a config bundle of a TOML or JSON file with sections.

    Raises:
        UsageError: There is no such file, or it is neither, or has no sections.
    """
    try:
        settings = msgspec.convert(
            read_settings(file), dict[str, dict[str, str | int | float | bool | list[str]]]
        )
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{file} is not a config bundle: write sections with keys, as in the agent's TOML file ({error})"
        ) from error
    bundle = ConfigBundle(name=ref.name, version=ref.version, settings=settings)
    content = _bounded(encode_config_bundle(bundle), ref)
    return BuiltArtifact(ref, "config", target_path("config", ref), content)


def _read(
    file: Path, read_header: Callable[[Buffer], GgufHeader], progress: Callable[[int], None] | None
) -> tuple[GgufHeader, ChunkedFile]:
    with mapped_model(file) as data:
        header = read_header(data)
        return header, chunk_file(data, plan_chunks(len(data), header), progress=progress)


def _entry(chunked: ChunkedFile) -> FileEntry:
    chunks = tuple(Chunk(chunk.offset, chunk.length, chunk.sha256) for chunk in chunked.chunks)
    return FileEntry(sha256=chunked.sha256, length=chunked.length, chunks=chunks)


def spdx_id(stated: str | None) -> str | None:
    """A licence's id as SPDX writes it, where it is one that hubs write in another way."""
    return None if stated is None else _SPDX.get(stated.lower(), stated)


def _bounded(content: bytes, ref: ArtifactRef) -> bytes:
    limit = DEFAULT_LIMITS.max_manifest_bytes
    if len(content) > limit:
        raise UsageError(f"the target of {ref} has {len(content)} bytes; the limit is {limit}")
    return content

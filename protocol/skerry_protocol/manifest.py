"""The manifest: the signed description of one immutable artifact (a TUF target)."""

from collections.abc import Iterator, Mapping

import msgspec

from skerry_protocol.acceptance import (
    MAX_ACCEPTANCE_TOKENS,
    Acceptance,
    AcceptanceCheck,
    acceptance_problem,
)
from skerry_protocol.codec import Document, Part, decode, encode
from skerry_protocol.errors import MalformedError, NameSyntaxError
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.names import ArtifactRef, check_name, check_sha256, check_version
from skerry_protocol.selectors import Selector

MAX_FILE_BYTES = 1 << 42
FORMAT_VERSIONS = (1, 2, 3)
"""2 has what version 1 has, and more to ask of a trial; 3 lets variants differ in more than their files."""
MAX_VARIANTS = 16
MAX_SELECTOR_CHARACTERS = 1024

__all__ = [
    "MAX_ACCEPTANCE_TOKENS",
    "Acceptance",
    "AcceptanceCheck",
    "Chunk",
    "FileEntry",
    "Manifest",
    "Variant",
    "decode_manifest",
    "encode_manifest",
]


class Chunk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Part of a file: ``[offset, length, sha256]``, bytes and the hash of the raw bytes."""

    offset: int
    length: int
    sha256: str


class FileEntry(Part, frozen=True):
    """One file: its hash, length in bytes, and chunks that cover it without gap or overlap."""

    sha256: str
    length: int
    chunks: tuple[Chunk, ...]


class Variant(Part, frozen=True, kw_only=True):
    """The files for the devices that a selector over device facts matches; the first match wins.

    What is left out is as the manifest says.

    Attributes:
        selector: Over the device's facts (``skerry_protocol.device_facts``) and labels; empty is all devices.
        files: One file.
        memory_bytes: As in the manifest, of this file.
        description: What is different from the manifest's description.
        acceptance: What is asked of devices that get this variant, instead of what the manifest asks.
    """

    selector: str = ""
    files: tuple[FileEntry, ...]
    memory_bytes: int | msgspec.UnsetType = msgspec.UNSET
    description: dict[str, str | int | float | bool | None] | msgspec.UnsetType = msgspec.UNSET
    acceptance: Acceptance | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_plain(self) -> bool:
        """Whether it has nothing but files."""
        return all(v is msgspec.UNSET for v in (self.memory_bytes, self.description, self.acceptance))


class Manifest(Document, frozen=True):
    """What an artifact is.

    Attributes:
        kind: ``model`` or ``adapter``.
        base: SHA-256 of the model file that an adapter was made for; only adapters have one, and all do.
        license: As the file's header gives it (SPDX id where known), or ``None``.
        parameter_class: ``below``, ``micro``, ``small``, ``medium`` or ``above``; models only.
        memory_bytes: Predicted need at the default context: weights, KV cache, compute buffers.
        description: Facts read from the model file's header, for people and selectors.
    """

    name: str
    version: str
    kind: str
    variants: tuple[Variant, ...]
    license: str | None = None
    parameter_class: str | None = None
    memory_bytes: int | None = None
    description: dict[str, str | int | float | bool | None] = {}
    acceptance: Acceptance = Acceptance()
    base: str | None = None

    @property
    def ref(self) -> ArtifactRef:
        """``name@version``."""
        return ArtifactRef(self.name, self.version)

    def variant_for(self, facts: Mapping[str, str]) -> Variant | None:
        """The first variant whose selector matches the device's facts."""
        return next((v for v in self.variants if Selector.parse(v.selector).matches(facts)), None)

    def narrowed(self, variant: Variant) -> "Manifest":
        """The manifest as a device with this variant reads it: what the variant says in place of its own."""
        described, asked, need = variant.description, variant.acceptance, variant.memory_bytes
        return msgspec.structs.replace(
            self,
            variants=(variant,),
            memory_bytes=self.memory_bytes if isinstance(need, msgspec.UnsetType) else need,
            description=self.description
            if isinstance(described, msgspec.UnsetType)
            else {**self.description, **described},
            acceptance=self.acceptance if isinstance(asked, msgspec.UnsetType) else asked,
        )

    @property
    def format_version(self) -> int:
        """The least version of the format that holds this."""
        return self.acceptance.format_version if all(v.is_plain for v in self.variants) else 3


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as the JSON that becomes the target, in the least format version that can hold it."""
    return encode(msgspec.structs.replace(manifest, v=manifest.format_version))


def decode_manifest(data: bytes) -> Manifest:
    """Decode and check a manifest.

    Raises:
        ProtocolError: It is malformed, too large, of a later version, or inconsistent.
    """
    manifest = decode(data, Manifest, limit_bytes=DEFAULT_LIMITS.max_manifest_bytes, versions=FORMAT_VERSIONS)
    try:
        check_name(manifest.name)
        check_version(manifest.version)
        for variant in manifest.variants:
            Selector.parse(variant.selector)
    except NameSyntaxError as error:
        raise MalformedError(f"manifest: {error}") from error
    if manifest.kind not in ("model", "adapter"):
        raise MalformedError(f"manifest {manifest.ref}: kind {manifest.kind[:32]!r} is not model or adapter")
    _check_base(manifest)
    for entry in _files(manifest):
        _check_file(entry, manifest)
    if manifest.v < manifest.format_version:
        raise MalformedError(
            f"manifest {manifest.ref}: format version {manifest.v} cannot ask this of a trial;"
            f" version {manifest.format_version} can"
        )
    for asked in (manifest.acceptance, *(manifest.narrowed(each).acceptance for each in manifest.variants)):
        problem = acceptance_problem(asked)
        if problem is not None:
            raise MalformedError(f"manifest {manifest.ref}: acceptance: {problem}")
    return manifest


def _check_base(manifest: Manifest) -> None:
    if (manifest.base is None) == (manifest.kind == "adapter"):
        wrong = "an adapter without a base" if manifest.base is None else "a model with a base"
        raise MalformedError(f"manifest {manifest.ref}: {wrong}")
    if manifest.base is not None:
        try:
            check_sha256(manifest.base)
        except NameSyntaxError as error:
            raise MalformedError(f"manifest {manifest.ref}: {error}") from error


def _files(manifest: Manifest) -> Iterator[FileEntry]:
    if not manifest.variants:
        raise MalformedError(f"manifest {manifest.ref}: no variants")
    if len(manifest.variants) > MAX_VARIANTS:
        raise MalformedError(
            f"manifest {manifest.ref}: {len(manifest.variants)} variants, {MAX_VARIANTS} allowed"
        )
    for variant in manifest.variants:
        if len(variant.selector) > MAX_SELECTOR_CHARACTERS:
            raise MalformedError(f"manifest {manifest.ref}: a selector of {len(variant.selector)} characters")
        if len(variant.files) != 1:
            raise MalformedError(
                f"manifest {manifest.ref}: a variant has {len(variant.files)} files, not one"
            )
        yield from variant.files


def _check_file(entry: FileEntry, manifest: Manifest) -> None:
    if not 0 < entry.length <= MAX_FILE_BYTES:
        raise MalformedError(f"manifest {manifest.ref}: a file of {entry.length} bytes")
    try:
        check_sha256(entry.sha256)
        end = 0
        for chunk in entry.chunks:
            check_sha256(chunk.sha256)
            if chunk.offset != end or chunk.length <= 0:
                raise MalformedError(f"manifest {manifest.ref}: chunks leave a gap or overlap at {end}")
            end += chunk.length
    except NameSyntaxError as error:
        raise MalformedError(f"manifest {manifest.ref}: {error}") from error
    if end != entry.length:
        raise MalformedError(f"manifest {manifest.ref}: chunks cover {end} of {entry.length} bytes")

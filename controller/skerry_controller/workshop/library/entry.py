"""What the library knows of a model file: immutable, one JSON record each."""

from typing import Literal

import msgspec

from skerry_protocol.model_description import ModelDescription, ParameterClass
from skerry_protocol.names import ArtifactRef

OriginKind = Literal["file", "folder", "http", "s3", "hub", "oci", "ollama", "converted", "quantized"]


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a file came from.

    Attributes:
        kind: What kind of place, or how it was made here.
        address: The place as a person would give it again: ``hf:OWNER/REPO:FILE``, a URL without its secrets,
            a path; for what was made here the parent's ``NAME@VERSION``.
        revision: The place's own name of that very content (commit, digest, ETag); None where it has none.
        at: When, ISO 8601 in UTC.
    """

    kind: OriginKind
    address: str
    at: str
    revision: str | None = None


class Licence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Under which licence a model may be used.

    Attributes:
        id: SPDX id, or the name that the source gives; None when nothing states one.
        link: Where its text stands.
        source: Who states it: ``header`` of the file, ``hub``, ``operator``.
    """

    id: str | None = None
    link: str | None = None
    source: str | None = None


class Lineage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a file was made of, and how.

    Attributes:
        parent: ``NAME@VERSION`` in the library.
        parent_sha256: Digest of the parent's file.
        method: ``quantize`` or ``convert``.
        tool: The program and its version, such as ``llama.cpp of llama-cpp-python 0.3.36``.
        settings: Everything that decided the result: type, importance matrix's digest, kept tensors.
        warnings: What a reader of figures has to know: "the parent was quantized already", "not trained for
            ternary weights", tensors that got another type than was asked for.
    """

    parent: str
    parent_sha256: str
    method: Literal["quantize", "convert"]
    tool: str
    settings: dict[str, str | int | float | bool | None] = {}
    warnings: tuple[str, ...] = ()


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model in the library.

    Attributes:
        name: Artifact name.
        version: Its version.
        sha256: Digest of the GGUF file.
        length: Its length in bytes.
        added_at: ISO 8601 in UTC.
        origin: Where it came from.
        description: What its header says.
        family: ``Qwen3``, ``Gemma 3``, ``SmolLM2``, …; None when it is none that we know.
        licence: Under which licence it may be used.
        lineage: What it was made of; None for what came from elsewhere.
        tensor_types: Tensors by the type that is really inside, such as ``{"Q4_0": 180, "F32": 61}``.
        notes: What a reader has to know of it ("llama.cpp is not installed here: it was not tried").
    """

    name: str
    version: str
    sha256: str
    length: int
    added_at: str
    origin: Origin
    description: ModelDescription
    family: str | None = None
    licence: Licence = Licence()
    lineage: Lineage | None = None
    tensor_types: dict[str, int] = {}
    notes: tuple[str, ...] = ()

    @property
    def ref(self) -> ArtifactRef:
        """Its name and version."""
        return ArtifactRef(self.name, self.version)

    @property
    def size_class(self) -> ParameterClass:
        """``micro``, ``small``, ``medium``, or ``below`` and ``above`` these."""
        return self.description.parameter_class

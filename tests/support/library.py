"""A library with small models in it."""

from pathlib import Path

from skerry_controller.workshop.library import Entry, Library, Origin
from skerry_protocol.names import ArtifactRef
from support.tiny_gguf import MetadataValue, Quantization, write_tiny_gguf

ADDED_AT = "2026-11-25T04:00:00.000+00:00"


def origin_of(file: Path) -> Origin:
    """That of a local file."""
    return Origin(kind="file", address=str(file), at=ADDED_AT)


def add_tiny(
    library: Library,
    ref: str,
    *,
    quantization: Quantization = "F16",
    seed: int = 0,
    context: int = 256,
    overrides: dict[str, MetadataValue | None] | None = None,
) -> Entry:
    """Write a tiny model and add it."""
    with library.staging() as staging:
        file = write_tiny_gguf(
            staging / "tiny.gguf", quantization=quantization, seed=seed, context=context, overrides=overrides
        )
        return library.add(file, ArtifactRef.parse(ref), origin=origin_of(file))

"""Whether a signed manifest can be followed on this device, before its first byte is fetched. Pure."""

from collections.abc import Mapping

from skerry_agent.updates.limits import UpdateLimits
from skerry_protocol.errors import NameSyntaxError
from skerry_protocol.manifest import FileEntry, Manifest
from skerry_protocol.names import target_path
from skerry_protocol.reported import Reason


def check_identity(manifest: Manifest, path: str) -> Reason | None:
    """Whether the manifest is the one of its path, and of a kind that runs in a slot."""
    if manifest.kind != "model":
        return Reason("unsupported_kind", f"{manifest.ref} is a {manifest.kind}: this agent runs models")
    try:
        own = target_path(manifest.kind, manifest.ref)
    except NameSyntaxError as error:
        return Reason("manifest_mismatch", str(error))
    if own != path:
        return Reason("manifest_mismatch", f"the manifest at {path} says that it is {manifest.ref}")
    return None


def choose_file(manifest: Manifest, facts: Mapping[str, str], limits: UpdateLimits) -> FileEntry | Reason:
    """The file for this device, or why there is none."""
    variant = manifest.variant_for(facts)
    if variant is None:
        offered = "; ".join(v.selector for v in manifest.variants)
        return Reason(
            "no_variant",
            f"{manifest.ref} has no variant for this device ({_text(facts)}); there are: {offered}",
        )
    entry = variant.files[0]
    largest = max(chunk.length for chunk in entry.chunks)
    if largest > limits.max_chunk_bytes:
        return Reason(
            "chunk_too_large",
            f"{manifest.ref} has a chunk of {largest} bytes; this agent takes {limits.max_chunk_bytes}",
        )
    return entry


def check_memory(manifest: Manifest, entry: FileEntry, memory_bytes: int) -> Reason | None:
    """Whether the model's predicted need fits; without a prediction, at least the weights must."""
    need = manifest.memory_bytes or entry.length
    if need <= memory_bytes:
        return None
    return Reason(
        "no_memory",
        f"{manifest.ref} needs about {need} bytes of memory and {memory_bytes} are available: "
        f"{need - memory_bytes} are missing",
    )


def _text(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(facts.items())) or "no facts"

"""Whether a signed manifest can be followed on this device, before its first byte is fetched. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

from skerry_agent.updates.limits import UpdateLimits
from skerry_protocol.errors import NameSyntaxError
from skerry_protocol.manifest import FileEntry, Manifest
from skerry_protocol.model_description import DEFAULT_CACHE_CONTEXTS, DEFAULT_CONTEXT_TOKENS
from skerry_protocol.names import target_path
from skerry_protocol.reported import Reason

_MIB: Final = 1024 * 1024


def check_identity(manifest: Manifest, path: str, kind: str = "model") -> Reason | None:
    """Whether the manifest is the one of its path, and of the kind that runs in its place of a slot."""
    if manifest.kind != kind:
        return Reason("unsupported_kind", f"{manifest.ref} is a {manifest.kind}, not a {kind}")
    try:
        own = target_path(manifest.kind, manifest.ref)
    except NameSyntaxError as error:
        return Reason("manifest_mismatch", str(error))
    if own != path:
        return Reason("manifest_mismatch", f"the manifest at {path} says that it is {manifest.ref}")
    return None


def check_base(adapter: Manifest, model: Manifest, entry: FileEntry) -> Reason | None:
    """Whether an adapter was made for the file that this device gets of a model."""
    if adapter.base == entry.sha256:
        return None
    return Reason(
        "wrong_base",
        f"{adapter.ref} was made for the model file {adapter.base}, but that of {model.ref} is"
        f" {entry.sha256}: give it the model that it was made for",
    )


def choose_file(
    manifest: Manifest, facts: Mapping[str, str], limits: UpdateLimits
) -> tuple[Manifest, FileEntry | Reason]:
    """The manifest as this device reads it, and its file, or why there is none."""
    variant = manifest.variant_for(facts)
    if variant is None:
        offered = "; ".join(v.selector for v in manifest.variants)
        return manifest, Reason(
            "no_variant",
            f"{manifest.ref} has no variant for this device ({_text(facts)}); there are: {offered}",
        )
    own, entry = manifest.narrowed(variant), variant.files[0]
    largest = max(chunk.length for chunk in entry.chunks)
    if largest > limits.max_chunk_bytes:
        return own, Reason(
            "chunk_too_large",
            f"{manifest.ref} has a chunk of {largest} bytes; this agent takes {limits.max_chunk_bytes}",
        )
    return own, entry


def check_processor(manifest: Manifest, features: frozenset[str]) -> Reason | None:
    """Whether the processor has what the manifest asks for."""
    lacking = [name for name in manifest.acceptance.cpu_features if name.lower() not in features]
    if not lacking:
        return None
    return Reason("cpu_unsupported", f"{manifest.ref} needs a processor with {', '.join(lacking)}")


def predict_memory(
    manifest: Manifest, entry: FileEntry, cache_tokens: Callable[[int], int]
) -> tuple[int, str]:
    """What the model needs on this device, in bytes and in words.

    The manifest's prediction is for the usual context; it is corrected for the one of this device. Without a
    prediction, at least the weights must fit.

    Args:
        manifest: The model's.
        entry: Its file.
        cache_tokens: Cells of the KV cache here, from the longest context that the model was trained for.
    """
    weights = f"weights {entry.length / _MIB:.0f}"
    if manifest.memory_bytes is None:
        return entry.length, f"{entry.length / _MIB:.0f} MiB ({weights})"
    trained = _whole(manifest.description.get("context_length"))
    a_token = _whole(manifest.description.get("kv_bytes_per_token"))
    if not (trained and a_token):
        return manifest.memory_bytes, f"{manifest.memory_bytes / _MIB:.0f} MiB ({weights})"
    here = cache_tokens(trained)
    usual = min(DEFAULT_CONTEXT_TOKENS, trained) * DEFAULT_CACHE_CONTEXTS
    need = max(entry.length, manifest.memory_bytes + a_token * (here - usual))
    cache = f"KV cache of {here} tokens {a_token * here / _MIB:.0f}"
    return need, f"{need / _MIB:.0f} MiB ({weights}, {cache})"


def check_memory(ref: object, need: tuple[int, str], memory_bytes: int) -> Reason | None:
    """Whether a predicted need fits."""
    size, words = need
    if size <= memory_bytes:
        return None
    return Reason(
        "no_memory",
        f"{ref} needs about {words} and {memory_bytes / _MIB:.0f} MiB can be had:"
        f" {(size - memory_bytes) / _MIB:.0f} MiB are missing",
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _text(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(facts.items())) or "no facts"

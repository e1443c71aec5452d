"""Which family a model belongs to, from what its header says."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple


class Family(NamedTuple):
    """A family of models: all of one architecture in the first place, the most special ones first.

    Attributes:
        name: As people write it.
        architectures: ``general.architecture`` of its files.
        names: What a model of it is called; None where the architecture says enough.
    """

    name: str
    architectures: frozenset[str]
    names: re.Pattern[str] | None = None


def _family(name: str, architectures: str, names: str | None = None) -> Family:
    pattern = None if names is None else re.compile(names, re.IGNORECASE)
    return Family(name, frozenset(architectures.split()), pattern)


_BUILT_LIKE_LLAMA: Final = "llama"

FAMILIES: Final = (
    _family("BitNet", "bitnet bitnet-b1.58"),
    _family("BitNet", _BUILT_LIKE_LLAMA, r"bitnet|(?<![0-9.])1\.58"),
    _family("Qwen3", "qwen3 qwen3moe"),
    _family("Qwen2.5", "qwen2 qwen2moe", r"qwen[-_ ]?2\.5"),
    _family("Qwen2", "qwen2 qwen2moe", r"qwen[-_ ]?2"),
    _family("Gemma 3n", "gemma3n"),
    _family("Gemma 3", "gemma3"),
    _family("Gemma 2", "gemma2"),
    _family("Gemma", "gemma"),
    _family("Phi-4-mini", "phi3", r"phi[-_ ]?4[-_ ]?mini"),
    _family("Phi-4", "phi3", r"phi[-_ ]?4"),
    _family("Phi-3", "phi3", r"phi[-_ ]?3"),
    _family("SmolLM3", "smollm3"),
    _family("SmolLM2", _BUILT_LIKE_LLAMA, r"smollm[-_ ]?2"),
    _family("SmolLM", _BUILT_LIKE_LLAMA, r"smollm"),
    _family("TinyLlama", _BUILT_LIKE_LLAMA, r"tiny[-_ ]?llama"),
    _family("Mistral", _BUILT_LIKE_LLAMA, r"mistral|mixtral"),
    _family("Llama", "llama llama4", r"llama"),
)
"""SmolLM2, TinyLlama and others are built like Llama: only their names tell."""

_NAME_KEYS: Final = (
    "general.name",
    "general.basename",
    "general.finetune",
    "general.base_model.0.name",
    "general.base_model.0.repo_url",
)


def family_of(metadata: Mapping[str, object], hints: tuple[str, ...] = ()) -> str | None:
    """The family of a model file, or None when it is none that we know.

    Args:
        metadata: Of its GGUF header.
        hints: Further names, such as that of its repository; they count less than the header's own.
    """
    architecture = str(metadata.get("general.architecture", ""))
    stated = [str(metadata[key]) for key in _NAME_KEYS if key in metadata]
    for names in (stated, list(hints)):
        for family in FAMILIES:
            if architecture in family.architectures and (
                family.names is None or any(family.names.search(name) for name in names)
            ):
                return family.name
    return None


def family_in_name(text: str) -> str | None:
    """The family that a name speaks of, for what tells no architecture."""
    key = family_key(text)
    return next((family.name for family in FAMILIES if family_key(family.name) in key), None)


def family_key(text: str) -> str:
    """``Gemma 3``, ``gemma-3`` and ``GEMMA3`` are one family."""
    return re.sub(r"[^a-z0-9.]", "", text.lower())

"""Names for what is imported, when a person gives none."""

import re
from pathlib import PurePosixPath
from typing import Final

from skerry_controller.errors import UsageError
from skerry_controller.workshop.naming import result_name
from skerry_protocol.gguf_types import FILE_TYPES, TENSOR_TYPES
from skerry_protocol.names import ArtifactRef

_TYPES: Final = sorted(
    {*FILE_TYPES.values(), *(kind.name for kind in TENSOR_TYPES.values()), "FP16", "FP32", "MXFP4"},
    key=len,
    reverse=True,
)
_TAIL: Final = re.compile(rf"[-._ ](?:UD-)?({'|'.join(map(re.escape, _TYPES))})(?:_XL)?$", re.IGNORECASE)
SHARD: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.gguf)?", re.IGNORECASE)
_NAME_MOST: Final = 64


def stem_of(file_name: str) -> str:
    """A file's name without folder, ending and number of its part."""
    name = PurePosixPath(file_name).name
    shard = SHARD.fullmatch(name)
    if shard:
        return shard[1]
    return name[: -len(".gguf")] if name.lower().endswith(".gguf") else name


def quantization_in(file_name: str) -> str | None:
    """The quantization that a file's name ends with, as the format writes it: ``Q4_K_M``."""
    tail = _TAIL.search(stem_of(file_name))
    return None if tail is None else tail[1].upper()


def suggest_ref(stem: str, quantization: str) -> ArtifactRef:
    """A name of the stem with its quantization, as other rooms name results: ``smollm2-135m-q4_k_m@1``.

    Raises:
        UsageError: Nothing of the stem can be a name.
    """
    plain = re.sub(r"[^a-z0-9._-]+", "-", _TAIL.sub("", stem).lower()).strip("-._")
    kind = re.sub(r"[^a-z0-9._-]+", "-", quantization.lower()).strip("-._")
    if not plain or not kind:
        raise UsageError(f"no name can be made of {stem!r}: give one with --as NAME@VERSION")
    return ArtifactRef(result_name(plain[:_NAME_MOST], kind), "1")

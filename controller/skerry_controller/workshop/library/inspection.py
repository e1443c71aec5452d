"""Looks at a model file before it may join the library: is it one, and what does it hold?"""

from collections import Counter
from pathlib import Path

import msgspec

from skerry_controller.artifacts.mapped_model import mapped_model
from skerry_controller.workshop.library.entry import Licence
from skerry_controller.workshop.library.families import family_of
from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_check import read_model_header
from skerry_protocol.gguf_header import GgufHeader
from skerry_protocol.model_description import ModelDescription, describe_model

_EMBEDDINGS = "token_embd.weight"
_MATRIX = 2


class Inspected(msgspec.Struct, frozen=True):
    """What a header says."""

    description: ModelDescription
    family: str | None
    licence: Licence
    tensor_types: dict[str, int]


def inspect_model(file: Path, *, hints: tuple[str, ...] = ()) -> Inspected:
    """Check the header of a GGUF file and describe the model.

    Args:
        file: The model.
        hints: Names that may tell the family where the header does not.

    Raises:
        PeerError: It is no model, is truncated or damaged, or its parts do not fit together.
        UsageError: There is no such file.
    """
    with mapped_model(file) as data:
        header = read_model_header(data)
        description = describe_model(header)
        _check_tokenizer(header, description)
    return Inspected(
        description=description,
        family=family_of(header.metadata, hints),
        licence=_licence(header, description),
        tensor_types=dict(Counter(tensor.type.name for tensor in header.tensors).most_common()),
    )


def _check_tokenizer(header: GgufHeader, description: ModelDescription) -> None:
    """A tokenizer of another model has another number of tokens than there are embeddings."""
    embeddings = next((tensor for tensor in header.tensors if tensor.name == _EMBEDDINGS), None)
    if embeddings is None or len(embeddings.dimensions) != _MATRIX:
        return
    rows = embeddings.dimensions[1]
    if rows != description.vocabulary_size:
        raise ModelFileError(
            f"the tokenizer has {description.vocabulary_size} tokens and the model {rows} embeddings: the "
            "tokenizer is another model's; convert the model again with its own"
        )


def _licence(header: GgufHeader, description: ModelDescription) -> Licence:
    if description.licence is None:
        return Licence()
    link = header.metadata.get("general.license.link")
    return Licence(id=description.licence, link=link if isinstance(link, str) else None, source="header")

"""The types that a model can be quantized to."""

from typing import Final, NamedTuple

from skerry_controller.errors import UsageError
from skerry_protocol.gguf_types import FILE_TYPES


class QuantizationType(NamedTuple):
    """One of llama.cpp's mixtures.

    Attributes:
        name: As llama.cpp writes it.
        file_type: Its number in ``enum llama_ftype``.
        ternary: Each weight becomes -1, 0 or 1 times a scale: for models that were trained so.
    """

    name: str
    file_type: int
    ternary: bool = False


_NAMES: Final = (
    *("F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0"),
    *("IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_XXS", "Q2_K", "IQ2_M", "IQ2_XS"),
    *("TQ2_0", "TQ1_0"),
)
_TERNARY: Final = frozenset({"TQ1_0", "TQ2_0"})
_NUMBERS: Final = {name: number for number, name in FILE_TYPES.items()}
_ALIASES: Final = {"Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M"}

TYPES: Final = tuple(QuantizationType(name, _NUMBERS[name], name in _TERNARY) for name in _NAMES)
"""Roughly from the largest to the smallest."""


def find_type(text: str) -> QuantizationType:
    """The type of that name, in whatever case.

    Raises:
        UsageError: There is none; lists what there is.
    """
    name = text.upper().replace("-", "_")
    name = _ALIASES.get(name, name)
    for kind in TYPES:
        if kind.name == name:
            return kind
    raise UsageError(
        f"there is no quantization {text!r}: the types are {', '.join(kind.name for kind in TYPES)}"
    )

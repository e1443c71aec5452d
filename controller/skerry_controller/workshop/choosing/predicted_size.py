"""How large a file a quantization would give, tensor by tensor, without making it. Pure.

Source: llama.cpp's ``llama-quant.cpp``: which tensors a mixture lifts, and which type stands in where a row
does not divide by the block.
"""

import re
from typing import Final

from skerry_protocol.gguf_header import GgufHeader, TensorInfo
from skerry_protocol.gguf_types import TENSOR_TYPES, TensorType

_BY_NAME: Final = {kind.name: kind for kind in TENSOR_TYPES.values()}
BASE_TYPES: Final = {
    "TQ1_0": "TQ1_0",
    "TQ2_0": "TQ2_0",
    "Q4_0": "Q4_0",
    "Q4_K_M": "Q4_K",
    "Q5_1": "Q5_1",
    "Q5_K_M": "Q5_K",
    "Q8_0": "Q8_0",
}
"""Quantizations that the workshop makes, smallest first, with the type of most of their tensors."""
_STAND_INS: Final = {"TQ1_0": "Q4_0", "TQ2_0": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_BLOCK = re.compile(r"blk\.(\d+)\.")
_MATRIX: Final = 2


def predict_length(header: GgufHeader, quantization: str) -> int:
    """Bytes of the file that ``quantization`` would make of this one.

    Raises:
        ValueError: The workshop does not make such a one.
    """
    if quantization not in BASE_TYPES:
        raise ValueError(f"{quantization!r} is none of {', '.join(BASE_TYPES)}")
    blocks = 1 + max((int(m[1]) for t in header.tensors if (m := _BLOCK.match(t.name))), default=0)
    has_output = any(tensor.name == "output.weight" for tensor in header.tensors)
    total = header.data_offset
    for tensor in header.tensors:
        kind = _type_of(tensor, quantization, blocks, has_output=has_output)
        length = tensor.elements // kind.block_elements * kind.block_bytes
        total += -(-length // header.alignment) * header.alignment
    return total


def _type_of(tensor: TensorInfo, quantization: str, blocks: int, *, has_output: bool) -> TensorType:
    if len(tensor.dimensions) < _MATRIX or not tensor.name.endswith("weight") or "norm" in tensor.name:
        return tensor.type
    row = tensor.dimensions[0]
    wanted = _BY_NAME[_wanted(tensor.name, row, quantization, blocks, has_output=has_output)]
    if row % wanted.block_elements == 0:
        return wanted
    stand_in = _BY_NAME[_STAND_INS.get(wanted.name, "F16")]
    return stand_in if row % stand_in.block_elements == 0 else _BY_NAME["F16"]


def _wanted(name: str, row: int, quantization: str, blocks: int, *, has_output: bool) -> str:
    base = BASE_TYPES[quantization]
    if name == "output.weight" or (name == "token_embd.weight" and not has_output):
        divides = row % _BY_NAME[base].block_elements == 0
        return "Q6_K" if divides and base != "Q8_0" else "Q8_0"
    if name == "token_embd.weight":
        return "Q4_K" if base.startswith("TQ") else base
    found = _BLOCK.match(name)
    lifted = ("attn_v.weight" in name or "ffn_down" in name) and found is not None
    if quantization in ("Q4_K_M", "Q5_K_M"):
        if "attn_qkv" in name:
            return "Q5_K" if quantization == "Q4_K_M" else "Q6_K"
        if lifted and found is not None and _more_bits(int(found[1]), blocks):
            return "Q6_K"
    return base


def _more_bits(block: int, blocks: int) -> bool:
    """The first and last eighth of the blocks, and each third between them."""
    return block < blocks // 8 or block >= 7 * blocks // 8 or (block - blocks // 8) % 3 == 2  # noqa: PLR2004 - as llama.cpp

from types import MappingProxyType

import pytest

from skerry_controller.workshop.choosing.predicted_size import predict_length
from skerry_protocol.gguf_header import GgufHeader, TensorInfo
from skerry_protocol.gguf_types import TENSOR_TYPES

MIB = 1024 * 1024
F16 = TENSOR_TYPES[1]


def smollm2(row: int = 576) -> GgufHeader:
    """The tensors of SmolLM2-135M; with other widths of rows on request."""
    shapes = {"attn_q": (row, 576), "attn_k": (row, 192), "attn_v": (row, 192), "attn_output": (row, 576),
              "ffn_gate": (row, 1536), "ffn_up": (row, 1536), "ffn_down": (1536, row),
              "attn_norm": (row,), "ffn_norm": (row,)}  # fmt: skip
    tensors = [
        TensorInfo("token_embd.weight", (row, 49152), F16, 0, 0),
        TensorInfo("output_norm.weight", (row,), F16, 0, 0),
    ]
    for block in range(30):
        tensors += [
            TensorInfo(f"blk.{block}.{name}.weight", shape, F16, 0, 0) for name, shape in shapes.items()
        ]
    return GgufHeader(3, (), tuple(tensors), 32, 0, 0, 1_800_000, 0, 0, MappingProxyType({}))


@pytest.mark.parametrize(
    ("quantization", "mib"), [("Q8_0", 138), ("Q5_1", 107), ("Q4_K_M", 101), ("Q4_0", 88)]
)
def test_the_size_is_that_of_the_file_that_llama_cpp_made_of_smollm2(quantization: str, mib: int) -> None:
    assert predict_length(smollm2(), quantization) / MIB == pytest.approx(mib, rel=0.01)


def test_rows_that_do_not_divide_by_a_block_of_256_make_the_file_larger() -> None:
    narrow, wide = smollm2(row=576), smollm2(row=512)
    assert predict_length(wide, "TQ2_0") / predict_length(narrow, "TQ2_0") < 0.7


def test_a_quantization_that_the_workshop_does_not_make_has_no_size() -> None:
    with pytest.raises(ValueError, match="Q2_K"):
        predict_length(smollm2(), "Q2_K")

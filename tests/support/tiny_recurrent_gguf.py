"""A tiny recurrent model (Mamba's shape, random weights) with the tiny llama's tokenizer."""

from pathlib import Path
from typing import Final

import gguf
import numpy as np
from numpy.typing import NDArray

from support.tiny_gguf import write_tiny_gguf

EMBEDDING: Final = 64
INNER: Final = 128
STATE: Final = 16
KERNEL: Final = 4
RANK: Final = 4
BLOCKS: Final = 2


def write_tiny_recurrent_gguf(path: Path, *, context: int = 256) -> Path:
    """Write the model to ``path``, whose folder must exist, and return the path."""
    plain = path.with_suffix(".plain")
    write_tiny_gguf(plain, context=context, embedding=EMBEDDING, quantization="F32")
    reader = gguf.GGUFReader(plain)
    writer = gguf.GGUFWriter(path, "mamba")
    for key, found in reader.fields.items():
        if key.startswith("tokenizer."):
            kind = found.types[0]
            part = found.types[1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, found.contents(), kind, sub_type=part)
    writer.add_context_length(context)
    writer.add_embedding_length(EMBEDDING)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(BLOCKS)
    writer.add_ssm_conv_kernel(KERNEL)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    writer.add_layer_norm_rms_eps(1e-5)
    for tensor in reader.tensors:
        if not tensor.name.startswith("blk."):
            writer.add_tensor(tensor.name, np.array(tensor.data, np.float32))
    for name, weights in _blocks().items():
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    plain.unlink()
    return path


def _blocks() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(3)

    def matrix(*shape: int) -> NDArray[np.float32]:
        return np.asarray(random.standard_normal(shape) / shape[-1] ** 0.5, np.float32)

    tensors: dict[str, NDArray[np.float32]] = {}
    for block in range(BLOCKS):
        prefix = f"blk.{block}."
        tensors |= {
            prefix + "attn_norm.weight": np.ones(EMBEDDING, np.float32),
            prefix + "ssm_in.weight": matrix(2 * INNER, EMBEDDING),
            prefix + "ssm_conv1d.weight": matrix(INNER, KERNEL),
            prefix + "ssm_conv1d.bias": np.zeros(INNER, np.float32),
            prefix + "ssm_x.weight": matrix(RANK + 2 * STATE, INNER),
            prefix + "ssm_dt.weight": matrix(INNER, RANK),
            prefix + "ssm_dt.bias": np.zeros(INNER, np.float32),
            prefix + "ssm_a": -np.exp(matrix(INNER, STATE)),
            prefix + "ssm_d": np.ones(INNER, np.float32),
            prefix + "ssm_out.weight": matrix(EMBEDDING, INNER),
        }
    return tensors

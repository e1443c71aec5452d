"""A tiny model whose every second layer sees a window only: the tiny llama's weights in Gemma 2's shape."""

from pathlib import Path
from typing import Final

import gguf
import numpy as np

from support.tiny_gguf import write_tiny_gguf

ARCHITECTURE: Final = "gemma2"
EMBEDDING: Final = 64
BLOCKS: Final = 4


def write_tiny_sliding_gguf(path: Path, *, window: int, context: int = 256) -> Path:
    """Write the model to ``path`` and return the path.

    Args:
        path: Where to write; its folder must exist.
        window: How many tokens back every second layer sees.
        context: Trained context length in tokens.
    """
    plain = path.with_suffix(".plain")
    write_tiny_gguf(plain, context=context, blocks=BLOCKS, embedding=EMBEDDING, quantization="F32")
    reader = gguf.GGUFReader(plain)
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    for key, found in reader.fields.items():
        if not key.startswith("tokenizer."):
            continue
        kind = found.types[0]
        part = found.types[1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, found.contents(), kind, sub_type=part)
    _describe(writer, window=window, context=context)
    for tensor in reader.tensors:
        if tensor.name != "output.weight":  # Gemma's output layer is its embeddings
            writer.add_tensor(tensor.name, np.array(tensor.data, np.float32))
    for block in range(BLOCKS):
        for name in ("post_attention_norm", "post_ffw_norm"):
            writer.add_tensor(f"blk.{block}.{name}.weight", np.ones(EMBEDDING, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    plain.unlink()
    return path


def _describe(writer: gguf.GGUFWriter, *, window: int, context: int) -> None:
    heads = EMBEDDING // 32
    writer.add_context_length(context)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(EMBEDDING * 2)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads // 2)
    writer.add_key_length(32)
    writer.add_value_length(32)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_sliding_window(window)
    writer.add_attn_logit_softcapping(50.0)
    writer.add_final_logit_softcapping(30.0)

"""Tiny Hugging Face checkpoints, written without any of the packages that usually write them.

Random weights in the layouts of Llama, Qwen3 and Gemma 3, a SentencePiece tokenizer of bytes and a few words.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import gguf
import numpy as np
from numpy.typing import NDArray

Layout = Literal["llama", "qwen3", "gemma3"]
LAYOUTS: Final[tuple[Layout, ...]] = ("llama", "qwen3", "gemma3")
Matrix = NDArray[np.float32]

HIDDEN, WIDE, HEAD, HEADS, KV_HEADS, BLOCKS = 64, 128, 32, 4, 2, 2
_WORDS = "the of and to in is that it was for on are as with his they at be this from island rock sea".split()  # noqa: SIM905 - easier to read
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6

_COMMON: Final = {
    "hidden_size": HIDDEN,
    "intermediate_size": WIDE,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attention_bias": False,
    "torch_dtype": "float32",
}
_CONFIGS: Final[Mapping[Layout, dict[str, Any]]] = {
    "llama": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "tie_word_embeddings": False,
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_act": "silu",
        "tie_word_embeddings": True,
    },
    "gemma3": {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": HEAD,
        "sliding_window": 128,
        "rope_local_base_freq": 10000.0,
        "tie_word_embeddings": True,
    },
}


def pieces() -> list[tuple[str, int]]:
    """The vocabulary: each piece with its kind."""
    special = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
    bytes_ = [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyz"]
    parts = {f"▁{word[:end]}" for word in _WORDS for end in range(1, len(word) + 1)}
    return [*special, *bytes_, *((piece, NORMAL) for piece in (*letters, *sorted(parts)))]


def write_checkpoint(
    folder: Path,
    layout: Layout,
    *,
    seed: int = 0,
    shards: int = 1,
    config: Mapping[str, Any] | None = None,
    tokenizer_of: Path | None = None,
    licence: str | None = "apache-2.0",
) -> Path:
    """Write a checkpoint into a new folder.

    Args:
        folder: Its parent must exist.
        layout: Whose layout.
        seed: Of the random weights.
        shards: How many safetensors files; more than one come with an index.
        config: What ``config.json`` has beside or instead.
        tokenizer_of: A GGUF file of SmolLM2, to have its byte-level BPE tokenizer instead.
        licence: As the model card states it.
    """
    folder.mkdir()
    if tokenizer_of is None:
        size = len(pieces())
        (folder / "tokenizer.model").write_bytes(sentencepiece(pieces()))
    else:
        size = _write_bpe(folder, tokenizer_of)
    settings = {**_COMMON, **_CONFIGS[layout], "vocab_size": size, **(config or {})}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    if licence is not None:
        card = f"---\nlicense: {licence}\nlanguage: [en]\n---\n# A tiny model\n"
        (folder / "README.md").write_text(card, encoding="utf-8")
    weights = make_weights(layout, size, seed)
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors(weights))
        return folder
    names = list(weights)
    where = {
        name: f"model-{index % shards + 1:05d}-of-{shards:05d}.safetensors"
        for index, name in enumerate(names)
    }
    index = {"metadata": {"total_size": sum(each.nbytes for each in weights.values())}, "weight_map": where}
    for file in sorted(set(where.values())):
        part = {name: weights[name] for name in names if where[name] == file}
        (folder / file).write_bytes(safetensors(part))
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def make_weights(layout: Layout, vocabulary: int, seed: int) -> dict[str, Matrix]:
    """All tensors by name, as F32."""
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> Matrix:
        return np.asarray(random.standard_normal((rows, columns)) / columns**0.5, dtype=np.float32)

    def norm(width: int) -> Matrix:
        centre = 0.0 if layout == "gemma3" else 1.0  # Gemma adds 1 by itself
        return np.asarray(random.standard_normal(width) * 0.1 + centre, dtype=np.float32)

    tensors = {"model.embed_tokens.weight": matrix(vocabulary, HIDDEN)}
    for block in range(BLOCKS):
        prefix = f"model.layers.{block}."
        attention = prefix + "self_attn."
        tensors |= {
            prefix + "input_layernorm.weight": norm(HIDDEN),
            attention + "q_proj.weight": matrix(HEADS * HEAD, HIDDEN),
            attention + "k_proj.weight": matrix(KV_HEADS * HEAD, HIDDEN),
            attention + "v_proj.weight": matrix(KV_HEADS * HEAD, HIDDEN),
            attention + "o_proj.weight": matrix(HIDDEN, HEADS * HEAD),
            prefix + "post_attention_layernorm.weight": norm(HIDDEN),
            prefix + "mlp.gate_proj.weight": matrix(WIDE, HIDDEN),
            prefix + "mlp.up_proj.weight": matrix(WIDE, HIDDEN),
            prefix + "mlp.down_proj.weight": matrix(HIDDEN, WIDE),
        }
        if layout != "llama":
            tensors |= {attention + "q_norm.weight": norm(HEAD), attention + "k_norm.weight": norm(HEAD)}
        if layout == "gemma3":
            tensors |= {
                prefix + "pre_feedforward_layernorm.weight": norm(HIDDEN),
                prefix + "post_feedforward_layernorm.weight": norm(HIDDEN),
            }
    tensors["model.norm.weight"] = norm(HIDDEN)
    if layout == "llama":
        tensors["lm_head.weight"] = matrix(vocabulary, HIDDEN)
    return tensors


def safetensors(tensors: Mapping[str, Matrix]) -> bytes:
    """A file in the safetensors format: the header's length, the header, the data."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, tensor in tensors.items():
        end = position + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(tensor.tobytes() for tensor in tensors.values())


def _write_bpe(folder: Path, model: Path) -> int:
    """``tokenizer.json`` as the tokenizers package writes SmolLM2's; returns the number of tokens.

    The converter knows tokenizers of this kind by what they make of a text, so an invented one will not do.
    """
    reader = gguf.GGUFReader(model)

    def value(name: str) -> list[Any]:
        field = reader.get_field(f"tokenizer.ggml.{name}")
        assert field is not None
        return list(field.contents())

    tokens, kinds = value("tokens"), value("token_type")
    options = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": i, "content": tokens[i], **options} for i, kind in enumerate(kinds) if kind == CONTROL]
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, bytes_]},
        "decoder": bytes_,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": value("merges")},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return len(tokens)


def sentencepiece(vocabulary: Iterable[tuple[str, int]]) -> bytes:
    """A ``tokenizer.model``: SentencePiece's ModelProto, BPE with bytes to fall back to."""
    model = b""
    for index, (piece, kind) in enumerate(vocabulary):
        score = struct.pack("<f", -float(index))
        model += _field(1, _field(1, piece.encode()) + b"\x15" + score + _number(3, kind))
    trainer = _number(3, 2) + _number(35, 1)
    return model + _field(2, trainer) + _field(3, _field(1, b"identity"))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])

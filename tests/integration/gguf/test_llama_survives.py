"""Our check refuses a header, or llama.cpp survives it: edge values of metadata, and random damage.

To find more values on which llama.cpp aborts, raise ``DAMAGED_FILES``; 5,000 take a minute.
"""

import math
import random
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_check import read_model_header
from skerry_protocol.gguf_header import GgufHeader
from support.llama_child import ANSWERED, LlamaChild, llama_child
from support.tiny_gguf import MetadataValue, write_tiny_gguf

DAMAGED_FILES = 150
U32 = 2**32 - 1
FLOATS = (-1.0, math.nan, math.inf, 1e30, 1e-45)
TOKENS = 939

EDGES: Mapping[str, tuple[MetadataValue | None, ...]] = {
    "llama.block_count": (0, 2, 512, 513, 2**31, U32, None),
    "llama.context_length": (0, 1, 2**24, 2**31 - 1, U32),
    "llama.embedding_length": (0, 1, 63, 128, U32),
    "llama.feed_forward_length": (0, 1, U32, [128], [0]),
    "llama.attention.head_count": (0, 1, 3, 64, U32, [2], [0], [2] * 513),
    "llama.attention.head_count_kv": (0, 2, 3, U32, [0]),
    "llama.attention.key_length": (0, 1, 31, 64, U32),
    "llama.attention.value_length": (0, 1, 31, 64, U32),
    "llama.attention.layer_norm_rms_epsilon": (*FLOATS, 0.0, None),
    "llama.attention.scale": FLOATS,
    "llama.attention.clamp_kqv": FLOATS,
    "llama.attention.sliding_window": (0, U32),
    "llama.rope.dimension_count": (0, 1, 31, 64, U32, None),
    "llama.rope.freq_base": (*FLOATS, 0.0),
    "llama.rope.scaling.factor": (*FLOATS, 0.0),
    "llama.rope.scaling.type": ("none", "yarn", "longrope", "", "YARN"),
    "llama.rope.scaling.original_context_length": (0, U32),
    "llama.expert_count": (0, 1, 513, U32),
    "llama.expert_used_count": (0, 1, U32),
    "llama.nextn_predict_layers": (0, 1, U32),
    "llama.leading_dense_block_count": (1, U32),
    "llama.pooling_type": (0, 7, U32),
    "llama.vocab_size": (0, 1, U32),
    "tokenizer.ggml.bos_token_id": (TOKENS, U32, None),
    "tokenizer.ggml.eos_token_id": (TOKENS, U32, None),
    "tokenizer.ggml.unknown_token_id": (TOKENS, U32),
    "tokenizer.ggml.model": ("", "x", "llama", "bert", "t5", "rwkv", "no_vocab", "none", None),
    "tokenizer.ggml.pre": ("", "x", None),
    "tokenizer.ggml.tokens": (["a"], [1], [""] * TOKENS, ["a"] * TOKENS, None),
    "tokenizer.ggml.merges": (["a"], [""], [1], None),
    "tokenizer.ggml.token_type": ([1], ["x"], [-1] * TOKENS, [6] * TOKENS, None),
    "tokenizer.ggml.scores": ([1.0], [math.nan] * TOKENS),
    "tokenizer.ggml.precompiled_charsmap": ([1, 2, 3],),
    "tokenizer.chat_template": ("", "{% for %}", "{{ x.y.z }}"),
    "general.architecture": ("", "x", "gemma3", None),
    "general.alignment": (0, 3),
    "general.quantization_version": (99,),
    "split.count": (2, U32),
}


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaChild]:
    with llama_child() as child:
        yield child


def survives_or_is_refused(path: Path, llama: LlamaChild) -> bool:
    try:
        read_model_header(path.read_bytes())
    except ModelFileError:
        return True
    return llama.outcome(path) >= 0


def test_the_tiny_model_answers(tmp_path: Path, llama: LlamaChild) -> None:
    assert llama.outcome(write_tiny_gguf(tmp_path / "m.gguf")) == ANSWERED


def test_the_child_reports_an_abort(tmp_path: Path, llama: LlamaChild) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", overrides={"llama.block_count": 0})

    assert llama.outcome(path) < 0


@pytest.mark.parametrize("key", EDGES)
def test_llama_survives_the_edge_values_that_we_let_pass(tmp_path: Path, llama: LlamaChild, key: str) -> None:
    for value in EDGES[key]:
        path = write_tiny_gguf(tmp_path / "m.gguf", blocks=1, overrides={key: value})
        assert survives_or_is_refused(path, llama), f"{key} = {str(value)[:40]}"


def test_llama_survives_the_damage_that_we_let_pass(tmp_path: Path, llama: LlamaChild) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", blocks=1)
    sound = path.read_bytes()
    header = read_model_header(sound)
    dice = random.Random(20)  # noqa: S311 - a repeatable sequence, not a secret

    for _ in range(DAMAGED_FILES):
        offset, data = damage(header, dice)
        path.write_bytes(sound[:offset] + data + sound[offset + len(data) :])
        assert survives_or_is_refused(path, llama), f"{data!r} at {offset}"


def damage(header: GgufHeader, dice: random.Random) -> tuple[int, bytes]:
    """A place in the header and what to write there: an edge value over a metadata value, or one byte."""
    if dice.random() < 0.5:
        entry = dice.choice(header.entries)
        place = entry.length - 4 if entry.length < 200 else dice.randrange(entry.length - 3)
        value = dice.choice([0, 1, 2, 255, 2**15, 2**31 - 1, 2**31, U32, 0x7FC00000, 0x7F800000])
        return entry.offset + place, struct.pack("<I", value)
    return dice.randrange(24, header.tensors_end), bytes([dice.choice([0, 1, 2, 127, 255])])

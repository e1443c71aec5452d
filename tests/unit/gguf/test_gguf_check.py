import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_check import check_model_header, read_model_header
from skerry_protocol.gguf_header import read_gguf_header
from support.gguf_bytes import GgufBytes, Tensor, numbers_entry, text_entry
from support.gguf_bytes import number_entry as number
from support.tiny_gguf import CHATML, MetadataValue, write_tiny_gguf

SMALLEST = (
    text_entry("general.architecture", "llama"),
    number("llama.block_count", 2),
    number("llama.context_length", 8),
    number("llama.embedding_length", 8),
    number("llama.attention.head_count", 4),
)


def refusal(path: Path, overrides: Mapping[str, MetadataValue | None]) -> str:
    write_tiny_gguf(path, blocks=1, overrides=overrides)
    with pytest.raises(ModelFileError) as caught:
        read_model_header(path.read_bytes())
    return str(caught.value)


@pytest.mark.parametrize("chat_template", [CHATML, CHATML + "{# more #}"])
def test_the_tiny_model_passes(tmp_path: Path, chat_template: str) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", chat_template=chat_template)

    assert read_model_header(path.read_bytes()).metadata["tokenizer.chat_template"] == chat_template


def test_a_base_model_passes(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", chat_template=False)

    assert "tokenizer.chat_template" not in read_model_header(path.read_bytes()).metadata


def test_empty_tokens_may_be_many_as_llama_names_them_apart(tmp_path: Path) -> None:
    tokens: list[str] = [*map(str, range(930)), *[""] * 9]
    path = write_tiny_gguf(tmp_path / "m.gguf", overrides={"tokenizer.ggml.tokens": tokens})

    read_model_header(path.read_bytes())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("block_count", 0),
        ("block_count", 513),
        ("block_count", None),
        ("context_length", 0),
        ("context_length", 2**31 - 1),
        ("embedding_length", 0),
        ("attention.head_count", 0),
        ("attention.head_count", None),
        ("attention.head_count_kv", 0),
        ("attention.head_count_kv", 3),
        ("attention.head_count_kv", 4),
        ("attention.head_count_kv", [1, 0]),
        ("attention.key_length", 0),
        ("expert_count", 2**31),
        ("expert_used_count", 1),
        ("nextn_predict_layers", 1),
        ("rope.scaling.type", "YARN"),
        ("rope.scaling.factor", math.nan),
        ("rope.freq_base", 0.0),
        ("attention.layer_norm_rms_epsilon", 0.0),
        ("attention.layer_norm_rms_epsilon", -1.0),
        ("attention.layer_norm_rms_epsilon", math.nan),
        ("attention.layer_norm_rms_epsilon", math.inf),
    ],
)
def test_refusing_a_hyperparameter_names_its_key(
    tmp_path: Path, name: str, value: MetadataValue | None
) -> None:
    assert f"llama.{name}" in refusal(tmp_path / "m.gguf", {f"llama.{name}": value})


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("general.architecture", "", "no general.architecture"),
        ("general.architecture", None, "no general.architecture"),
        ("general.type", "adapter", "of type 'adapter'"),
        ("split.count", 2, "one part of 2"),
        ("llama.expert_count", 1, "expert_used_count = 0"),
        ("tokenizer.ggml.model", None, "no tokenizer"),
        ("tokenizer.ggml.model", "none", "no tokenizer"),
        ("tokenizer.ggml.model", "llama", "byte tokens"),
        ("tokenizer.ggml.tokens", None, "no list of tokens"),
        ("tokenizer.ggml.tokens", [1, 2], "no list of tokens"),
        ("tokenizer.ggml.tokens", ["a"] * 939, "twice"),
        ("tokenizer.ggml.tokens", [*map(str, range(938)), "7"], "token b'7' twice"),
        # llama.cpp takes tokens for C strings.
        ("tokenizer.ggml.tokens", [*map(str, range(938)), "7\0x"], "token b'7' twice"),
        ("tokenizer.ggml.token_type", [1, 1], "2 values in tokenizer.ggml.token_type"),
    ],
)
def test_refusing_a_model_says_why(
    tmp_path: Path, key: str, value: MetadataValue | None, reason: str
) -> None:
    assert reason in refusal(tmp_path / "m.gguf", {key: value})


def test_a_whole_number_that_is_a_string_is_refused(tmp_path: Path) -> None:
    data = GgufBytes([*SMALLEST[:1], text_entry("llama.block_count", "2"), *SMALLEST[2:]], [Tensor("a")])

    with pytest.raises(ModelFileError, match=r"llama\.block_count = '2'"):
        check_model_header(read_gguf_header(data.build()))


def test_blocks_without_attention_are_fine_in_hybrid_architectures_only() -> None:
    entries = [*SMALLEST, numbers_entry("llama.attention.head_count_kv", [0, 2])]
    hybrid = [entry.replace(b"llama", b"jamba") for entry in entries]

    check_model_header(read_gguf_header(GgufBytes(hybrid, [Tensor("a")]).build()))
    with pytest.raises(ModelFileError, match="head_count_kv"):
        check_model_header(read_gguf_header(GgufBytes(entries, [Tensor("a")]).build()))


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ([], "no tensors"),
        ([Tensor("a"), Tensor("b", offset=256)], "at byte"),
        ([Tensor("a", offset=128), Tensor("b", offset=0)], "at byte"),
    ],
)
def test_tensors_must_be_there_in_order_and_without_gaps(tensors: list[Tensor], reason: str) -> None:
    data = GgufBytes(
        SMALLEST, tensors, trailing=bytes(128) if len(tensors) > 1 and not tensors[0].offset else b""
    )

    with pytest.raises(ModelFileError, match=reason):
        check_model_header(read_gguf_header(data.build()))

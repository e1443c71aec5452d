from pathlib import Path

import msgspec
import pytest

from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_header import read_gguf_header
from skerry_protocol.model_description import (
    MemoryNeed,
    ModelDescription,
    describe_model,
    parameter_class,
    vector_step_tokens,
)
from support.gguf_bytes import GgufBytes, Tensor, number_entry, numbers_entry, text_entry
from support.tiny_gguf import Quantization, write_tiny_gguf


def test_describes_the_tiny_model(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", name="tiny", context=128)
    description = describe_model(read_gguf_header(path.read_bytes()))

    assert description == ModelDescription(
        architecture="llama",
        name="tiny",
        licence="apache-2.0",
        parameters=268_224,
        parameter_class="below",
        quantization="F16",
        dominant_tensor_type="F16",
        tensor_bytes={"F16": 535_296, "F32": 2304},
        weights_bytes=537_600,
        context_length=128,
        embedding_length=64,
        feed_forward_length=128,
        block_count=4,
        head_count=2,
        tokenizer="gpt2",
        vocabulary_size=939,
        has_chat_template=True,
        # 4 blocks of 1 head, keys and values of 32 elements of 2 bytes each.
        kv_bytes_per_token=4 * 1 * (32 + 32) * 2,
    )


def test_a_description_survives_the_wire(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf")
    description = describe_model(read_gguf_header(path.read_bytes()))

    assert msgspec.json.decode(msgspec.json.encode(description), type=ModelDescription) == description


def test_a_manifest_holds_it_flat(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf")
    fields = describe_model(read_gguf_header(path.read_bytes())).to_manifest()

    assert fields["tensor_bytes"] == "F16=535296, F32=2304"
    assert fields["architecture"] == "llama"
    assert all(isinstance(value, str | int | float | bool | None) for value in fields.values())


@pytest.mark.parametrize("quantization", ["F32", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_names_the_quantization(tmp_path: Path, quantization: Quantization) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", quantization=quantization)
    description = describe_model(read_gguf_header(path.read_bytes()))

    assert description.quantization == description.dominant_tensor_type == quantization


def test_a_wrong_file_type_shows_beside_what_the_tensors_really_hold(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", quantization="Q8_0", overrides={"general.file_type": 10})
    description = describe_model(read_gguf_header(path.read_bytes()))

    assert (description.quantization, description.dominant_tensor_type) == ("Q2_K", "Q8_0")


@pytest.mark.parametrize("file_type", [None, 1024])
def test_without_a_file_type_the_tensors_decide(tmp_path: Path, file_type: int | None) -> None:
    path = write_tiny_gguf(
        tmp_path / "m.gguf", quantization="Q8_0", overrides={"general.file_type": file_type}
    )

    assert describe_model(read_gguf_header(path.read_bytes())).quantization == "Q8_0"


def test_what_the_file_does_not_say_is_none(tmp_path: Path) -> None:
    path = write_tiny_gguf(
        tmp_path / "m.gguf", licence=None, chat_template=False, overrides={"general.name": None}
    )
    description = describe_model(read_gguf_header(path.read_bytes()))

    assert description.licence is None
    assert description.name is None
    assert not description.has_chat_template


def test_key_and_value_sizes_and_heads_of_each_block_count_in_the_cache() -> None:
    data = GgufBytes(
        [
            text_entry("general.architecture", "lfm2"),
            number_entry("lfm2.block_count", 3),
            number_entry("lfm2.attention.head_count", 8),
            numbers_entry("lfm2.attention.head_count_kv", [0, 2, 0]),
            number_entry("lfm2.attention.key_length", 64),
            number_entry("lfm2.attention.value_length", 32),
        ],
        [Tensor("a")],
    )

    assert describe_model(read_gguf_header(data.build())).kv_bytes_per_token == 2 * (64 + 32) * 2


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (0, "below"),
        (99_999_999, "below"),
        (100_000_000, "micro"),
        (1_400_000_000, "micro"),
        (1_500_000_000, "small"),
        (13_900_000_000, "small"),
        (14_000_000_000, "medium"),
        (30_500_000_000, "medium"),
        (32_000_000_000, "above"),
    ],
)
def test_classes_of_size(parameters: int, expected: str) -> None:
    assert parameter_class(parameters) == expected


def test_memory_grows_with_context_and_holds_the_weights(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf")
    description = describe_model(read_gguf_header(path.read_bytes()))
    short = description.memory_need(cache_tokens=256, batch_tokens=1)
    long = description.memory_need(cache_tokens=1256, batch_tokens=1)

    assert short.weights_bytes == description.weights_bytes
    assert long.cache_bytes - short.cache_bytes == 1000 * description.kv_bytes_per_token
    assert long.total_bytes - short.total_bytes == 1000 * (description.kv_bytes_per_token + 6)
    usual = description.memory_need(cache_tokens=1256, batch_tokens=1, vectors_tokens=628, parked_tokens=314)
    assert description.estimate_memory_bytes(context_tokens=628, batch_tokens=1) == usual.total_bytes
    assert usual.vectors_bytes > 628 * description.kv_bytes_per_token
    assert usual.parked_bytes == 314 * description.kv_bytes_per_token
    assert usual.later_bytes == usual.compute_bytes + usual.vectors_bytes + usual.parked_bytes
    assert usual.total_bytes == long.total_bytes + usual.vectors_bytes + usual.parked_bytes


@pytest.mark.parametrize(("vocabulary", "tokens"), [(0, 64), (49_152, 64), (262_144, 16), (10_000_000, 8)])
def test_a_large_vocabulary_makes_short_steps_for_vectors(vocabulary: int, tokens: int) -> None:
    assert vector_step_tokens(vocabulary) == tokens


def test_a_memory_need_reads_as_numbers() -> None:
    need = MemoryNeed(
        weights_bytes=241 << 20, cache_bytes=48 << 20, compute_bytes=60 << 20, process_bytes=53 << 20
    )
    assert str(need) == "402 MiB (weights 241, KV cache 48, compute 60, process 53)"


def test_a_header_without_an_architecture_is_refused() -> None:
    with pytest.raises(ModelFileError, match="no model"):
        describe_model(read_gguf_header(GgufBytes([], [Tensor("a")]).build()))

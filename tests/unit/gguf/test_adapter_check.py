import math
from pathlib import Path

import numpy as np
import pytest

from skerry_protocol.adapter_check import (
    check_adapter_fits,
    describe_adapter,
    is_adapter,
    lora_pairs,
    read_adapter_header,
)
from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_check import read_model_header
from skerry_protocol.gguf_header import read_gguf_header
from support.gguf_bytes import GgufBytes, Tensor, float_entry, strings_entry, text_entry
from support.lora_gguf import ATTENTION, Tensors, write_lora_gguf
from support.tiny_gguf import write_tiny_gguf

Q, UP = "blk.0.attn_q.weight", "blk.0.ffn_up.weight"
LORA = (
    text_entry("general.architecture", "llama"),
    text_entry("general.type", "adapter"),
    text_entry("adapter.type", "lora"),
)
PAIR = (Tensor("w.lora_a", bytes(128), (4, 8)), Tensor("w.lora_b", bytes(128), (8, 4)))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("base") / "base.gguf", blocks=1)


def refusal(path: Path, base: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        check_adapter_fits(read_adapter_header(path.read_bytes()), read_model_header(base.read_bytes()))
    return str(caught.value)


def test_an_adapter_fits_the_model_that_it_was_made_for(tmp_path: Path, base: Path) -> None:
    header = read_adapter_header(write_lora_gguf(tmp_path / "a.gguf", base, rank=4).read_bytes())

    check_adapter_fits(header, read_model_header(base.read_bytes()))
    assert is_adapter(header)
    assert not is_adapter(read_gguf_header(base.read_bytes()))
    description = describe_adapter(header)
    assert (description.architecture, description.rank, description.alpha, description.matrices) == (
        "llama",
        4,
        4.0,
        7,
    )
    assert description.parameters * 4 == description.weights_bytes
    assert description.to_manifest()["name"] == "tiny-lora"


def test_norms_beside_the_pairs_are_left_to_llama(tmp_path: Path, base: Path) -> None:
    def add_norm(tensors: Tensors) -> None:
        tensors["blk.0.attn_norm.weight"] = np.ones(64, np.float32)

    header = read_adapter_header(write_lora_gguf(tmp_path / "a.gguf", base, change=add_norm).read_bytes())

    check_adapter_fits(header, read_model_header(base.read_bytes()))
    assert len(lora_pairs(header)) == 7


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"general.type": "model"}, "of type 'model'"),
        ({"general.type": None}, "of type 'model'"),
        ({"general.type": 1}, "of type 1"),
        ({"adapter.type": "control_vector"}, "only LoRA"),
        ({"adapter.type": 1}, "only LoRA"),
        ({"adapter.type": None}, "only LoRA"),
        ({"general.architecture": None}, "no general.architecture"),
        ({"general.architecture": 3}, "no general.architecture"),
        ({"general.architecture": "gemma3"}, "its base is 'llama'"),
        ({"adapter.lora.alpha": 16}, "adapter.lora.alpha"),
        ({"adapter.lora.alpha": "16"}, "adapter.lora.alpha"),
        ({"adapter.lora.alpha": math.nan}, "adapter.lora.alpha"),
        ({"adapter.lora.alpha": math.inf}, "adapter.lora.alpha"),
    ],
)
def test_refusing_an_adapter_for_its_metadata_says_why(
    tmp_path: Path, base: Path, overrides: dict[str, str | int | float | None], reason: str
) -> None:
    assert reason in refusal(write_lora_gguf(tmp_path / "a.gguf", base, overrides=overrides), base)


def test_an_adapter_that_waits_for_certain_tokens_is_refused() -> None:
    entries = [*LORA, strings_entry("adapter.alora.invocation_tokens", ["x"])]

    with pytest.raises(ModelFileError, match="aLoRA"):
        read_adapter_header(GgufBytes(entries, PAIR).build())


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ([], "no tensors"),
        ([Tensor("blk.0.attn_norm.weight")], "no LoRA matrices"),
        ([PAIR[0]], "no w.lora_b"),
        ([PAIR[1]], "no w.lora_a"),
        ([*PAIR, Tensor("w")], "neither .lora_a nor .lora_b"),
        ([PAIR[0], Tensor("w.lora_b", bytes(128), (4, 8))], "no rank in common"),
        ([PAIR[0], Tensor("w.lora_b", bytes(128), (8, 2, 2))], "no rank in common"),
        ([PAIR[0], Tensor("w.lora_b", bytes(128), (8, 4), type=26)], "as I32"),
        ([Tensor("w.lora_a", bytes(32800), (1, 8200)), Tensor("w.lora_b", bytes(32800), (8200, 1))], "rank"),
    ],
)
def test_refusing_an_adapter_for_its_tensors_says_why(tensors: list[Tensor], reason: str) -> None:
    with pytest.raises(ModelFileError, match=reason):
        read_adapter_header(GgufBytes([*LORA, float_entry("adapter.lora.alpha", 8.0)], tensors).build())


def swap(tensors: Tensors) -> None:
    tensors[f"{Q}.lora_a"] = np.ascontiguousarray(tensors[f"{Q}.lora_a"].T)


def unknown(tensors: Tensors) -> None:
    for half in ("lora_a", "lora_b"):
        tensors[f"blk.7.attn_q.weight.{half}"] = tensors.pop(f"{Q}.{half}")


def wider(tensors: Tensors) -> None:
    tensors[f"{Q}.lora_a"] = np.ones((4, 128), np.float32)


def on_a_norm(tensors: Tensors) -> None:
    tensors["output_norm.weight.lora_a"] = np.ones((4, 64), np.float32)
    tensors["output_norm.weight.lora_b"] = np.ones((1, 4), np.float32)


def more_dimensions(tensors: Tensors) -> None:
    for half in ("lora_a", "lora_b"):
        tensors[f"{UP}.{half}"] = np.stack([tensors[f"{UP}.{half}"]] * 2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (swap, "no rank in common"),
        (unknown, "its base does not have"),
        (wider, "made for another model"),
        (on_a_norm, "made for another model"),
        (more_dimensions, "made for another model"),
    ],
)
def test_an_adapter_of_another_shape_than_its_base_is_refused(
    tmp_path: Path, base: Path, change: object, reason: str
) -> None:
    assert callable(change)
    assert reason in refusal(write_lora_gguf(tmp_path / "a.gguf", base, change=change), base)


def test_an_adapter_of_a_wider_model_is_refused(tmp_path: Path, base: Path) -> None:
    wide = write_tiny_gguf(tmp_path / "wide.gguf", blocks=1, embedding=128)

    assert "made for another model" in refusal(write_lora_gguf(tmp_path / "a.gguf", wide), base)


def test_embeddings_can_be_changed_only_where_the_output_has_weights_of_its_own(
    tmp_path: Path, base: Path
) -> None:
    tokens = next(t for t in read_gguf_header(base.read_bytes()).tensors if t.name == "token_embd.weight")
    wide, vocabulary = tokens.dimensions

    def add_embeddings(tensors: Tensors) -> None:
        tensors["token_embd.weight.lora_a"] = np.ones((vocabulary, 4), np.float32)
        tensors["token_embd.weight.lora_b"] = np.ones((wide, 4), np.float32)

    path = write_lora_gguf(tmp_path / "a.gguf", base, targets=ATTENTION, change=add_embeddings)
    header = read_adapter_header(path.read_bytes())
    check_adapter_fits(header, read_model_header(base.read_bytes()))
    tied = read_gguf_header(
        GgufBytes(
            [text_entry("general.architecture", "llama")],
            [Tensor("token_embd.weight", bytes(wide * vocabulary * 4), (wide, vocabulary))],
        ).build()
    )
    only_embeddings = write_lora_gguf(tmp_path / "e.gguf", base, targets=(), change=add_embeddings)
    with pytest.raises(ModelFileError, match="uses for its output too"):
        check_adapter_fits(read_adapter_header(only_embeddings.read_bytes()), tied)

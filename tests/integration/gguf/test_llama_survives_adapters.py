"""Our check refuses an adapter, or llama.cpp survives loading and using it."""

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from skerry_protocol.adapter_check import check_adapter_fits, read_adapter_header
from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_check import read_model_header
from support.llama_child import ANSWERED, LlamaChild, llama_child
from support.lora_gguf import Tensors, write_lora_gguf
from support.tiny_gguf import write_tiny_gguf

DAMAGED_FILES = 120
Q, EMBEDDINGS = "blk.0.attn_q.weight", "token_embd.weight"
VOCABULARY, WIDE, RANK = 939, 64, 4


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaChild]:
    with llama_child() as child:
        yield child


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("base") / "base.gguf", blocks=1)


def refused(path: Path, base: Path) -> bool:
    try:
        check_adapter_fits(read_adapter_header(path.read_bytes()), read_model_header(base.read_bytes()))
    except ModelFileError:
        return True
    return False


def embeddings(rows: int, rank_a: int, rank_b: int) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors.clear()
        tensors[f"{EMBEDDINGS}.lora_a"] = np.ones((rows, rank_a), np.float32)
        tensors[f"{EMBEDDINGS}.lora_b"] = np.ones((WIDE, rank_b), np.float32)

    return change


def typed(kind: type) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[f"{Q}.lora_a"] = tensors[f"{Q}.lora_a"].astype(kind)

    return change


def stacked(tensors: Tensors) -> None:
    for half in ("lora_a", "lora_b"):
        tensors[f"{Q}.{half}"] = np.stack([tensors[f"{Q}.{half}"]] * 3)


def without_b(tensors: Tensors) -> None:
    del tensors[f"{Q}.lora_b"]


def on_a_norm(tensors: Tensors) -> None:
    tensors["output_norm.weight.lora_a"] = np.ones((RANK, WIDE), np.float32)
    tensors["output_norm.weight.lora_b"] = np.ones((1, RANK), np.float32)


SPOILT: dict[str, Callable[[Tensors], None]] = {
    "embeddings": embeddings(VOCABULARY, RANK, RANK),
    "embeddings with two ranks": embeddings(VOCABULARY, RANK, RANK + 1),
    "whole numbers": typed(np.int32),
    "double": typed(np.float64),
    "half": typed(np.float16),
    "three dimensions": stacked,
    "half a pair": without_b,
    "a norm": on_a_norm,
    "not a number": lambda tensors: tensors[f"{Q}.lora_a"].fill(math.nan),
}


def test_the_adapter_answers(tmp_path: Path, base: Path, llama: LlamaChild) -> None:
    path = write_lora_gguf(tmp_path / "a.gguf", base)

    assert not refused(path, base)
    assert llama.outcome(base, path) == ANSWERED


def test_the_child_reports_an_abort_in_the_first_step(tmp_path: Path, base: Path, llama: LlamaChild) -> None:
    path = write_lora_gguf(tmp_path / "a.gguf", base, change=SPOILT["embeddings with two ranks"])

    assert llama.outcome(base, path) < 0


@pytest.mark.parametrize("name", SPOILT)
def test_llama_survives_the_spoilt_adapters_that_we_let_pass(
    tmp_path: Path, base: Path, llama: LlamaChild, name: str
) -> None:
    path = write_lora_gguf(tmp_path / "a.gguf", base, rank=RANK, change=SPOILT[name])

    assert refused(path, base) or llama.outcome(base, path) >= 0


@pytest.mark.parametrize(
    "key", ["general.type", "general.architecture", "adapter.type", "adapter.lora.alpha"]
)
def test_llama_survives_the_metadata_that_we_let_pass(
    tmp_path: Path, base: Path, llama: LlamaChild, key: str
) -> None:
    for value in (None, 0, "", "x", "adapter", "lora", "llama", 1.5, math.nan, 1e30, -8.0):
        path = write_lora_gguf(tmp_path / "a.gguf", base, overrides={key: value})
        assert refused(path, base) or llama.outcome(base, path) >= 0, f"{key} = {value}"


def test_llama_survives_the_damage_that_we_let_pass(tmp_path: Path, base: Path, llama: LlamaChild) -> None:
    path = write_lora_gguf(tmp_path / "a.gguf", base, rank=RANK)
    sound = path.read_bytes()
    header = read_adapter_header(sound)
    dice = random.Random(31)  # noqa: S311 - a repeatable sequence, not a secret

    for _ in range(DAMAGED_FILES):
        offset = dice.randrange(24, header.tensors_end)
        byte = bytes([dice.choice([0, 1, 2, 3, 8, 127, 255])])
        path.write_bytes(sound[:offset] + byte + sound[offset + 1 :])
        assert refused(path, base) or llama.outcome(base, path) >= 0, f"{byte!r} at {offset}"

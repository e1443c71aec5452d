from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.tiny_gguf import Quantization, write_tiny_gguf

TEXTS = ("Hello world", " the user said:\n\tGrüße, 漢字 🦀\r\n", "\x00\x7f", "<|im_start|>", "")


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Any]:
    yield from loaded(write_tiny_gguf(tmp_path / "m.gguf"))


def loaded(path: Path) -> Iterator[Any]:
    import llama_cpp  # noqa: PLC0415 - heavy, and only these tests need it

    model = llama_cpp.Llama(str(path), n_ctx=128, n_threads=1, n_threads_batch=1, verbose=False)
    yield model
    model.close()


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back_from_its_tokens(model: Any, text: str) -> None:
    tokens = model.tokenize(text.encode(), add_bos=False, special=False)

    assert model.detokenize(tokens).decode() == text


def test_words_are_single_tokens(model: Any) -> None:
    assert len(model.tokenize(b" the house around the children", add_bos=False)) == 5


def test_what_it_says_is_valid_text_and_follows_from_prompt_and_seed(model: Any) -> None:
    def answer(prompt: str, seed: int) -> str:
        choice = model.create_completion(prompt, max_tokens=40, seed=seed, temperature=1.0)["choices"][0]
        assert choice["finish_reason"] == "length"
        return str(choice["text"])

    answers = [answer("the sea", 1), answer("the sea", 2), answer("a rock", 1)]

    assert answer("the sea", 1) == answers[0]
    assert len(set(answers)) == 3
    assert all(text.isprintable() and text.isascii() and len(text) > 40 for text in answers)


def test_the_chat_template_works_and_the_answer_can_end(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", eos_lean=30)
    for model in loaded(path):
        reply = model.create_chat_completion([{"role": "user", "content": "hello"}], max_tokens=20)

        assert reply["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("quantization", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_loads_in_every_quantization(tmp_path: Path, quantization: Quantization) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", quantization=quantization)
    for model in loaded(path):
        assert model.create_completion("the", max_tokens=4)["choices"][0]["text"]


def test_equal_arguments_give_equal_bytes_and_another_seed_another_model(tmp_path: Path) -> None:
    first, second, other = (
        write_tiny_gguf(tmp_path / f"{index}.gguf", seed=seed).read_bytes()
        for index, seed in enumerate([7, 7, 8])
    )

    assert first == second
    assert first != other
    assert len(first) == len(other)
    assert len(first) < 1_000_000

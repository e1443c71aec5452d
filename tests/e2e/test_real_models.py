"""The two real models on a device of their own: one that chats, one that only completes."""

import runpy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest

from support.fleet import Device
from support.lora_gguf import Tensors, write_lora_gguf

FETCH = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "fetch_models.py"))

pytestmark = pytest.mark.timeout(240)


def real_model(name: str) -> Path:
    """A model's file; it is fetched when `make` did not do that."""
    path: Path = FETCH["fetch"](FETCH["MODELS"][name])
    return path


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    one = Device.in_folder(tmp_path_factory.mktemp("real"), "box")
    one.start()
    try:
        for name in ("smollm2", "gemma3"):
            one.run("import", real_model(name), "--name", f"{name}@1")
            one.run("activate", f"{name}@1")
        yield one
    finally:
        one.service.stop()


@pytest.fixture
def client(device: Device) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{device.url}/v1", api_key="none", max_retries=0, timeout=120) as one:
        yield one


def test_smollm2_answers_a_question_sensibly(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": "What is the capital of France? Answer in one sentence."}],
        max_tokens=40,
        temperature=0,
    )
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"


def test_gemma_completes_text(client: openai.OpenAI) -> None:
    done = client.completions.create(
        model="gemma3", prompt="The capital of France is", max_tokens=8, temperature=0
    )
    assert "France" in done.choices[0].text


def test_a_chat_with_gemma_gets_a_400_that_says_why(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="no chat template") as caught:
        client.chat.completions.create(model="gemma3", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "no_chat_template"


def test_both_are_described_from_their_headers(device: Device) -> None:
    models = {m["ref"]: m for m in device.json("models")["models"]}
    smollm2, gemma3 = models["local/smollm2@1"], models["local/gemma3@1"]
    assert smollm2["description"]["quantization"] == "Q4_1"
    assert smollm2["description"]["parameters"] == 134_515_008
    assert smollm2["license"].lower() == "apache-2.0"
    assert gemma3["description"]["architecture"] == "gemma3"
    assert gemma3["description"]["has_chat_template"] is False


def test_smollm2_takes_an_adapter_and_refuses_one_of_its_embeddings(
    device: Device, client: openai.OpenAI, tmp_path: Path
) -> None:
    base, on = real_model("smollm2"), ("--base", "local/smollm2@1")

    def add_embeddings(tensors: Tensors) -> None:
        tensors["token_embd.weight.lora_a"] = np.zeros((49152, 4), np.float32)
        tensors["token_embd.weight.lora_b"] = np.zeros((576, 4), np.float32)

    embeddings = write_lora_gguf(tmp_path / "tied.gguf", base, change=add_embeddings, targets=["attn_q"])
    refused = device.run("import", embeddings, "--name", "tied@1", *on, check=False)
    assert refused.startswith("1\n")
    assert "uses for its output too" in refused
    fine = write_lora_gguf(
        tmp_path / "fine.gguf", base, targets=["attn_q", "ffn_up"], half=True, strength=0.5
    )
    device.run("import", fine, "--name", "fine@1", *on)

    def completed(model: str) -> str:
        prompt = "The capital of France is"
        return (
            client.completions.create(model=model, prompt=prompt, max_tokens=8, temperature=0).choices[0].text
        )

    assert completed("local/fine@1") != completed("smollm2") == completed("local/smollm2@1")

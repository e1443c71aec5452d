from pathlib import Path

import pytest

from skerry_controller.errors import UsageError
from skerry_controller.workshop.importing import parse_source
from skerry_controller.workshop.importing.naming import quantization_in, stem_of, suggest_ref
from skerry_controller.workshop.importing.sources import (
    HttpSource,
    HubSource,
    LocalSource,
    RegistrySource,
    S3Source,
    Source,
)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("model.gguf", LocalSource(Path("model.gguf"))),
        ("https://x.example/a/m.gguf?sig=1", HttpSource("https://x.example/a/m.gguf?sig=1")),
        ("s3://models/slm/m.gguf", S3Source("models", "slm/m.gguf")),
        ("hf:Qwen/Qwen3-0.6B-GGUF", HubSource("Qwen/Qwen3-0.6B-GGUF")),
        ("hf:a/b:dir/m-Q4_0.gguf", HubSource("a/b", None, "dir/m-Q4_0.gguf")),
        ("hf:a/b@refs/pr/1:Q4_0", HubSource("a/b", "refs/pr/1", "Q4_0")),
        ("oci:ghcr.io/o/m:v1", RegistrySource("ghcr.io", "o/m", "v1")),
        ("oci:localhost:5000/m:v1", RegistrySource("localhost:5000", "m", "v1")),
        ("ollama:qwen3", RegistrySource("registry.ollama.ai", "library/qwen3", "latest", ollama=True)),
        ("ollama:me/m:1b", RegistrySource("registry.ollama.ai", "me/m", "1b", ollama=True)),
        ("ollama:127.0.0.1:5000/m", RegistrySource("127.0.0.1:5000", "library/m", "latest", ollama=True)),
    ],
)
def test_what_a_person_writes_is_understood(text: str, source: Source) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://x/y.gguf",
        "https://x.example/",
        "https://x:port/y",
        "s3://bucket",
        "s3://b/",
        "s3:x",
        "hf:only-a-name",
        "hf:a/b/c",
        "oci:m:v1",
        "oci:ghcr.io/o/m",
        "ollama:UPPER",
        "ollama:../x",
        "oci:ghcr.io/o/m@sha256:12",
    ],
)
def test_anything_else_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UsageError):
        parse_source(text)


def test_an_address_can_be_given_again_and_holds_no_secret() -> None:
    for text in ("hf:a/b@v1:m.gguf", "oci:ghcr.io/o/m:v1", "ollama:qwen3:0.6b", "s3://models/m.gguf"):
        assert parse_source(text).address == text
    secret = parse_source("https://user:word@x.example/m.gguf?X-Amz-Signature=1")
    assert secret.address == "https://x.example/m.gguf"


@pytest.mark.parametrize(
    ("file", "stem", "quantization", "ref"),
    [
        (
            "SmolLM2-135M-Instruct-Q4_K_M.gguf",
            "SmolLM2-135M-Instruct-Q4_K_M",
            "Q4_K_M",
            "smollm2-135m-instruct",
        ),
        ("a/Qwen3-0.6B.Q8_0.gguf", "Qwen3-0.6B.Q8_0", "Q8_0", "qwen3-0.6b"),
        ("gemma-3-270m-it-f16.gguf", "gemma-3-270m-it-f16", "F16", "gemma-3-270m-it"),
        ("big-Q4_0-00001-of-00003.gguf", "big-Q4_0", "Q4_0", "big"),
        ("plain.gguf", "plain", None, "plain"),
    ],
)
def test_names_are_made_of_file_names(file: str, stem: str, quantization: str | None, ref: str) -> None:
    assert stem_of(file) == stem
    assert quantization_in(file) == quantization
    kind = quantization or "F16"
    assert str(suggest_ref(stem_of(file), kind)) == f"{ref}-{kind.lower()}@1"


def test_a_file_name_without_letters_asks_for_a_name() -> None:
    with pytest.raises(UsageError, match="--as NAME@VERSION"):
        suggest_ref("模型", "F16")

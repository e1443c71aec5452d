"""Checkpoints are looked at before any tool is: what is not whole, or not one model, is refused."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from skerry_controller.errors import PeerError, UsageError
from skerry_controller.workshop.converting import check_type, read_checkpoint
from skerry_controller.workshop.converting.architectures import check_architecture, known_architectures
from skerry_controller.workshop.converting.checkpoint import digest
from skerry_controller.workshop.converting.converting import default_ref
from skerry_controller.workshop.converting.safetensors import read_safetensors
from skerry_controller.workshop.converting.vocabulary import count_tokens
from skerry_controller.workshop.progress import StopSign, silent
from support.checkpoints import LAYOUTS, Layout, pieces, sentencepiece, write_checkpoint

TOKENS = len(pieces())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shards", [1, 3])
def test_a_whole_checkpoint_is_read(tmp_path: Path, layout: Layout, shards: int) -> None:
    checkpoint = read_checkpoint(write_checkpoint(tmp_path / "c", layout, shards=shards))
    assert checkpoint.architecture.lower().startswith(layout)
    assert checkpoint.tensors["model.embed_tokens.weight"].shape == (TOKENS, 64)
    assert [file.suffix for file in checkpoint.files].count(".safetensors") == shards


def change_json(name: str, **changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def remove(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / old).rename(folder / new)


def cut(name: str, length: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


FIRST = "model-00001-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER_JSON = json.dumps({"model": {"vocab": {"a": 0, "b": 9999}}, "added_tokens": []}).encode()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove(FIRST), f"1 of 2 files that {INDEX} names are missing, such as {FIRST}"),
        (remove(INDEX), "has parts of a model but neither"),
        (cut(FIRST, 100_000), "is cut short: .* bytes of tensors are missing"),
        (cut(FIRST, 100), "is cut short: its header alone has"),
        (cut(FIRST, 5), "is cut short: it has 5 bytes"),
        (write(FIRST, b"\xff" * 1000), "is no safetensors file: its header would have"),
        (write(FIRST, struct.pack("<Q", 2) + b"[]"), "tensors that .* names are in none of its files"),
        (write(FIRST, struct.pack("<Q", 2) + b"{,"), "its header cannot be read"),
        (write(INDEX, b"{}"), "has no weight_map"),
        (write(INDEX, b'{"weight_map": {"a": "../../etc/passwd"}}'), "files outside of its folder"),
        (write(INDEX, b"["), "cannot be read"),
        (write("config.json", b"[]"), "is no JSON object"),
        (change_json("config.json", architectures=None), "names no architecture"),
        (remove("tokenizer.model"), "has no tokenizer: one of tokenizer.model"),
        (cut("tokenizer.model", 1000), "is cut short"),
        (write("tokenizer.model", b"no tokenizer"), "is damaged"),
        (write("tokenizer.model", sentencepiece(pieces()[:100])), "another model's: it has 100 tokens"),
        (
            write("tokenizer.model", sentencepiece(pieces() * 2)),
            f"another model's: it has {2 * TOKENS} tokens",
        ),
        (write("tokenizer.json", TOKENIZER_JSON), "another model's: it has 10000 tokens"),
        (write("tokenizer.json", b"{}"), "is damaged: it is no tokenizer"),
    ],
)
def test_what_is_not_whole_is_refused_with_the_reason(
    tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    folder = write_checkpoint(tmp_path / "c", "llama", shards=2)
    damage(folder)
    with pytest.raises(PeerError, match=words):
        read_checkpoint(folder)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", "llama")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PeerError, match=r"holds pickled weights \(pytorch_model.bin\)"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (remove("config.json"), "it has no config.json"),
        (rename("config.json", "model.gguf"), "holds GGUF files: import them"),
    ],
)
def test_a_folder_of_something_else_is_told_apart(
    tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    folder = write_checkpoint(tmp_path / "c", "llama")
    change(folder)
    with pytest.raises(UsageError, match=words):
        read_checkpoint(folder)
    with pytest.raises(UsageError, match="there is no folder"):
        read_checkpoint(tmp_path / "nothing")


def header(**tensor: object) -> bytes:
    text = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | tensor}).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header() + bytes(7), "cut short: 1 bytes of its 8 bytes"),
        (header() + bytes(9), "1 bytes follow its tensors"),
        (header(shape=[3]) + bytes(8), "the place of w does not fit its shape"),
        (header(data_offsets=[8, 16]) + bytes(16), "the place of w does not fit"),
        (header(dtype="Q7") + bytes(8), "unknown type Q7"),
        (header(shape=[-2]) + bytes(8), "impossible numbers"),
        (header(shape="2") + bytes(8), "described wrongly"),
        (header(data_offsets=[0]) + bytes(8), "impossible numbers"),
    ],
)
def test_headers_that_contradict_themselves_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with pytest.raises(PeerError, match=words):
        read_safetensors(file)


def test_tokens_are_counted_by_their_highest_id(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps({"model": {"vocab": {"a": 0, "b": 4}}, "added_tokens": [{"id": 7}]}))
    assert count_tokens(file) == 8
    file.write_text(json.dumps({"model": {"vocab": [["a", 0.1], ["b", 0.2]]}}))
    assert count_tokens(file) == 2


def test_the_digest_changes_with_each_file_that_the_result_depends_on(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", "qwen3")

    def now() -> str:
        return digest(read_checkpoint(folder), silent, StopSign())

    digests = [now(), now()]
    (folder / "notes.txt").write_text("not part of it")
    digests.append(now())
    assert len(set(digests)) == 1
    change_json("config.json", rope_theta=1.0)(folder)
    digests.append(now())
    (folder / "merges.txt").write_text("a b")
    digests.append(now())
    assert len(set(digests)) == 3


def test_an_architecture_that_the_converter_lacks_is_refused_with_similar_ones(
    tmp_path: Path,
) -> None:
    (tmp_path / "conversion").mkdir()
    (tmp_path / "conversion" / "__init__.py").write_text(
        'raise SystemExit("nobody runs this")\n'
        'TEXT_MODEL_MAP: dict[str, str] = {"Qwen3ForCausalLM": "qwen", "LlamaForCausalLM": "llama"}\n'
    )
    assert known_architectures(tmp_path) == {"Qwen3ForCausalLM", "LlamaForCausalLM"}
    check_architecture("Qwen3ForCausalLM", tmp_path)
    with pytest.raises(PeerError, match=r"for the architecture Qwen9.*it knows Qwen3ForCausalLM"):
        check_architecture("Qwen9ForCausalLM", tmp_path)


def test_types_that_only_the_quantizer_makes_are_told_so() -> None:
    check_type("bf16")
    with pytest.raises(UsageError, match=r"convert it to one of f16, .* then quantize that"):
        check_type("q4_0")


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Qwen3-0.6B", "qwen3-0.6b-f16"), ("My Model (v2)", "my-model-v2-f16"), ("gemma-3-BF16", "gemma-3-f16")],
)
def test_a_result_is_named_for_its_folder(folder: str, name: str) -> None:
    assert str(default_ref(Path("/x") / folder, "f16")) == f"{name}@1"

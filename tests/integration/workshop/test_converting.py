"""Converting, by llama.cpp's real converter where it is installed (``make test-convert`` does that).

One layout is converted in every run; ``make test-convert`` does all of them, and asks transformers what
the source would have said.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from skerry_controller.errors import PeerError, UsageError
from skerry_controller.workshop.converting import (
    ConvertSettings,
    Environment,
    EnvironmentSettings,
    convert,
    converter_tool,
)
from skerry_controller.workshop.library import Entry, Library
from skerry_controller.workshop.progress import StoppedError, StopSign
from support.checkpoints import LAYOUTS, Layout, make_weights, pieces, write_checkpoint
from support.real_models import NEEDED, SMOLLM2

ALL = os.environ.get("SKERRY_CONVERT_ALL") == "1"
ENVIRONMENT = Environment(EnvironmentSettings.usual())
LOGITS = Path(__file__).parents[2] / "support" / "model_logits.py"
TOKENS = [1, 270, 300, 262, 265, 280, 2, 290]

pytestmark = [
    pytest.mark.converter,
    pytest.mark.skipif(
        not ENVIRONMENT.is_ready(), reason="the converter is not installed: make test-convert"
    ),
]
only_all = pytest.mark.skipif(not ALL, reason="only in make test-convert")
layouts = [pytest.param(each, marks=[only_all] if each != "gemma3" else []) for each in LAYOUTS]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library") as opened:
        yield opened


def tensors(path: Path) -> dict[str, np.ndarray]:
    return {each.name: each.data.astype(np.float32) for each in gguf.GGUFReader(path).tensors}


def logits(*command: str) -> np.ndarray:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    return np.array(json.loads(done.stdout))


def by_llama(library: Library, entry: Entry) -> np.ndarray:
    words = [str(token) for token in TOKENS]
    return logits(sys.executable, str(LOGITS), "llama", str(library.path(entry)), *words)


@pytest.mark.parametrize("layout", layouts)
def test_a_checkpoint_becomes_a_model_with_its_weights(
    library: Library, tmp_path: Path, layout: Layout
) -> None:
    folder = write_checkpoint(tmp_path / f"Tiny-{layout}", layout, shards=2)
    seen: list[str] = []
    made = convert(
        library,
        folder,
        ENVIRONMENT,
        settings=ConvertSettings(type="f32"),
        progress=lambda what, done, total=None: seen.append(what),
    )
    assert str(made.ref) == f"tiny-{layout}-f32@1"
    assert made.description.architecture == layout
    assert made.description.vocabulary_size == len(pieces())
    assert (made.origin.kind, made.licence.id) == ("converted", "apache-2.0")
    assert made.lineage is not None
    assert made.lineage.method == "convert"
    assert seen[0] == "hashing the checkpoint"

    source, result = make_weights(layout, len(pieces()), seed=0), tensors(library.path(made))
    shift = 1 if layout == "gemma3" else 0
    assert np.array_equal(result["token_embd.weight"], source["model.embed_tokens.weight"])
    assert np.array_equal(result["blk.1.ffn_down.weight"], source["model.layers.1.mlp.down_proj.weight"])
    assert np.allclose(result["output_norm.weight"], source["model.norm.weight"] + shift)
    assert len(result) == len(source)
    if ALL:  # what the source itself says, by the package that such checkpoints are made for
        words = [str(token) for token in TOKENS]
        said = logits(str(ENVIRONMENT.python), "-I", str(LOGITS), "transformers", str(folder), *words)
        assert np.abs(by_llama(library, made) - said).max() < 2e-4 * np.abs(said).max()
    else:
        assert np.isfinite(by_llama(library, made)).all()


@only_all
@pytest.mark.parametrize("source", [pytest.param(SMOLLM2.path, marks=NEEDED[SMOLLM2.label])])
def test_a_byte_level_tokenizer_arrives_as_it_was(library: Library, tmp_path: Path, source: Path) -> None:
    folder = write_checkpoint(tmp_path / "tiny", "qwen3", tokenizer_of=source)
    made = convert(library, folder, ENVIRONMENT)
    before, after = gguf.GGUFReader(source), gguf.GGUFReader(library.path(made))
    for name in ("model", "pre", "tokens", "token_type", "merges", "eos_token_id"):
        fields = [reader.get_field(f"tokenizer.ggml.{name}") for reader in (before, after)]
        assert len({str(field and field.contents()) for field in fields}) == 1, name


@only_all
@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0", "auto"])
def test_other_types_are_near(library: Library, tmp_path: Path, kind: str) -> None:
    folder = write_checkpoint(tmp_path / "tiny", "llama")
    exact = convert(library, folder, ENVIRONMENT, settings=ConvertSettings(type="f32"))
    made = convert(library, folder, ENVIRONMENT, settings=ConvertSettings(type=kind))
    assert made.description.quantization == {"auto": "F16"}.get(kind, kind.upper())
    assert made.length < exact.length
    difference = np.abs(by_llama(library, made) - by_llama(library, exact)).max()
    assert 0 < difference < 0.3


def write_attack(folder: Path, mark: Path) -> Path:
    """A checkpoint with code of its own, which writes ``mark`` when anybody runs it."""
    own = {"AutoConfig": "own.OwnConfig", "AutoTokenizer": ["own.OwnTokenizer", None]}
    write_checkpoint(folder, "llama", config={"model_type": "own", "auto_map": own})
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "OwnTokenizer", "auto_map": own})
    )
    attack = f"open({str(mark)!r}, 'w').write('x')\nclass OwnConfig: pass\nclass OwnTokenizer: pass\n"
    for name in ("own.py", "sitecustomize.py", "torch.py", "conversion.py", "gguf.py"):
        (folder / name).write_text(attack)
    return folder


@pytest.mark.parametrize("guarded", [True, pytest.param(False, marks=only_all)])
def test_code_that_a_checkpoint_brings_along_is_not_run_even_when_the_converter_asks(
    tmp_path: Path, guarded: bool
) -> None:
    mark = tmp_path / "it-ran"
    folder = write_attack(tmp_path / "evil", mark)
    code = (
        "import runpy, sys\n"
        "tool = runpy.run_path(sys.argv[1])\n"
        f"{guarded} and tool['_forbid_foreign_code']()\n"
        "from transformers import AutoTokenizer\n"
        "AutoTokenizer.from_pretrained(sys.argv[2], trust_remote_code=True)\n"
    )
    done = subprocess.run(
        [str(ENVIRONMENT.python), "-I", "-c", code, str(converter_tool.__file__), str(folder)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=os.environ | {"HF_HOME": str(tmp_path / "hf")},
    )
    assert mark.exists() is not guarded
    assert ("Python code that it brings along, which is refused" in done.stderr) is guarded


@only_all
def test_a_checkpoint_with_code_is_converted_without_it(library: Library, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    made = convert(library, write_attack(tmp_path / "evil", mark), ENVIRONMENT)
    assert made.description.architecture == "llama"
    assert not mark.exists()


def test_what_the_converter_does_not_know_is_refused_before_it_runs(library: Library, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "new", "llama", config={"architectures": ["LlamaNextForCausalLM"]})
    with pytest.raises(PeerError, match=r"no converter for the architecture LlamaNext.*LlamaForCausalLM"):
        convert(library, folder, ENVIRONMENT)
    with pytest.raises(UsageError, match="then quantize that"):
        convert(library, folder, ENVIRONMENT, settings=ConvertSettings(type="q4_0"))


@only_all
def test_a_tensor_that_belongs_to_no_such_model_is_refused_in_a_line(
    library: Library, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / "odd", "llama", config={"num_hidden_layers": 1})
    with pytest.raises(PeerError, match=r"llama.cpp's converter refused it: .*model.layers.1"):
        convert(library, folder, ENVIRONMENT)
    assert library.entries() == []


@only_all
def test_stopping_leaves_nothing(library: Library, tmp_path: Path) -> None:
    stop = StopSign()

    def progress(what: str, done: float, total: float | None = None) -> None:
        if what == "starting the converter":
            stop.stop()

    with pytest.raises(StoppedError):
        convert(library, write_checkpoint(tmp_path / "c", "llama"), ENVIRONMENT, progress=progress, stop=stop)
    assert list((library.folder / "staging").iterdir()) == []
    assert library.entries() == []

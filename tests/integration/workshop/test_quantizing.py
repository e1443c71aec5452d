"""Quantizing, by the real llama.cpp in a real child; ``make test-convert`` does more types than every run."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from skerry_controller.errors import ConflictError, PeerError, UsageError, WorldError
from skerry_controller.workshop.library import Entry, Library
from skerry_controller.workshop.progress import StoppedError, StopSign
from skerry_controller.workshop.quantizing import Plan, QuantizeSettings, plan_quantization, quantize
from skerry_protocol.names import ArtifactRef
from support.library import add_tiny, origin_of
from support.llama_child import ANSWERED, LlamaChild, llama_child
from support.real_models import NEEDED, SMOLLM2
from support.tiny_gguf import write_tiny_gguf

WIDTH = 256
"""Of a model whose rows divide into every type's blocks."""
only_all = pytest.mark.skipif(os.environ.get("SKERRY_CONVERT_ALL") != "1", reason="only in make test-convert")
USUAL = ("Q4_0", "Q4_K_M", "TQ1_0")
FURTHER = ("Q5_1", "Q5_K_M", "Q8_0", "TQ2_0", "BF16")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library") as opened:
        yield opened


@pytest.fixture(scope="module")
def loader() -> Iterator[LlamaChild]:
    with llama_child() as child:
        yield child


@pytest.fixture(scope="module")
def wide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(
        tmp_path_factory.mktemp("wide") / "wide.gguf", embedding=WIDTH, blocks=2, name="wide"
    )


@pytest.fixture
def wide(library: Library, wide_file: Path) -> Entry:
    return library.add(wide_file, ArtifactRef("wide", "1"), origin=origin_of(wide_file))


def left(library: Library) -> list[Path]:
    """What lies in the staging folder."""
    return list((library.folder / "staging").iterdir())


@pytest.mark.parametrize("kind", [*USUAL, *(pytest.param(kind, marks=only_all) for kind in FURTHER)])
def test_a_model_is_quantized_to_what_was_foretold_and_llama_cpp_runs_it(
    library: Library, loader: LlamaChild, wide: Entry, kind: str
) -> None:
    plans: list[Plan] = []
    made = quantize(library, wide, kind, on_plan=plans.append)
    assert str(made.ref) == f"wide-{kind.lower()}@1"
    assert made.description.quantization == kind
    assert made.tensor_types == plans[0].tensor_types
    assert plans[0].new_length - 256 <= made.length <= plans[0].new_length + 256
    assert made.lineage is not None
    assert (made.lineage.parent, made.lineage.parent_sha256) == ("wide@1", wide.sha256)
    assert made.lineage.settings["type"] == kind
    assert made.origin.kind == "quantized"
    assert made.licence == wide.licence
    assert loader.outcome(library.path(made)) == ANSWERED
    assert left(library) == []


def test_rows_that_do_not_divide_get_other_types_and_the_record_says_so(library: Library) -> None:
    made = quantize(library, add_tiny(library, "tiny@1"), "Q4_K_M")
    assert "Q4_K" not in made.tensor_types
    assert made.lineage is not None
    assert any("not all Q4_K_M" in w and "do not divide by 256" in w for w in made.lineage.warnings)


@only_all
def test_the_same_work_again_gives_the_same_entry(library: Library, wide: Entry) -> None:
    again = [quantize(library, wide, "q4_0", settings=QuantizeSettings(threads=n)) for n in (1, 2)]
    assert again[0] == again[1]


def test_a_name_that_is_taken_is_not_taken_away(library: Library, wide: Entry) -> None:
    settings = QuantizeSettings(ref=ArtifactRef("wide", "1"))
    with pytest.raises(ConflictError, match="wide@1 is in the library with another content"):
        quantize(library, wide, "q4_0", settings=settings)
    assert library.find("wide@1") == wide


def test_a_quantized_parent_is_named_in_the_warnings_and_nothing_goes_up(library: Library) -> None:
    parent = add_tiny(library, "tiny-q8_0@1", quantization="Q8_0")
    made = quantize(library, parent, "Q4_0")
    assert str(made.ref) == "tiny-q4_0@1"
    assert made.lineage is not None
    assert "tiny-q8_0@1 is quantized already (Q8_0" in made.lineage.warnings[0]
    with pytest.raises(UsageError, match="holds Q4_0, and Q8_0 would not be lower"):
        quantize(library, made, "Q8_0")
    forced = quantize(
        library, made, "Q8_0", settings=QuantizeSettings(force=True, ref=ArtifactRef("up", "1"))
    )
    assert forced.description.quantization == "Q8_0"


def test_settings_decide_about_output_embeddings_and_mixtures(library: Library, wide: Entry) -> None:
    settings = QuantizeSettings(keep_output=True, embedding_type="q8_0", pure=True)
    made = quantize(library, wide, "Q4_K_M", settings=settings)
    assert {kind for kind in made.tensor_types if kind != "F32"} == {"Q4_K", "F16", "Q8_0"}
    assert (made.tensor_types["F16"], made.tensor_types["Q8_0"]) == (1, 1)
    with pytest.raises(UsageError, match="no tensor type 'Q9'"):
        quantize(library, wide, "Q4_0", settings=QuantizeSettings(embedding_type="Q9"))


def write_imatrix(path: Path, model: Path) -> Path:
    """One that finds every fourth column much more important."""
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.add_array("imatrix.datasets", ["text"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", 512)
    for tensor in gguf.GGUFReader(model).tensors:
        if len(tensor.shape) > 1:
            values = np.ones(tensor.shape[0], dtype=np.float32)
            values[::4] = 100
            writer.add_tensor(f"{tensor.name}.in_sum2", values)
            writer.add_tensor(f"{tensor.name}.counts", np.ones(1, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_an_importance_matrix_changes_the_result_and_is_recorded(
    library: Library, wide: Entry, wide_file: Path, tmp_path: Path
) -> None:
    plain = quantize(library, wide, "Q4_K_M")
    settings = QuantizeSettings(
        imatrix=write_imatrix(tmp_path / "i.gguf", wide_file), ref=ArtifactRef("weighed", "1")
    )
    weighed = quantize(library, wide, "Q4_K_M", settings=settings)
    assert weighed.sha256 != plain.sha256
    assert weighed.lineage is not None
    assert len(str(weighed.lineage.settings["imatrix_sha256"])) == 64
    assert weighed.lineage.warnings == ()


def test_types_that_need_an_importance_matrix_say_so(
    library: Library, wide: Entry, wide_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="needs an importance matrix: give one with --imatrix"):
        plan_quantization(library, wide, "IQ2_XS")
    settings = QuantizeSettings(imatrix=write_imatrix(tmp_path / "i.gguf", wide_file))
    assert "IQ2_XS" in plan_quantization(library, wide, "IQ2_XS", settings=settings).tensor_types


def test_stopping_leaves_nothing(library: Library, wide: Entry) -> None:
    stop = StopSign()
    seen: list[str] = []

    def progress(what: str, done: float, total: float | None = None) -> None:
        seen.append(what)
        stop.stop()

    with pytest.raises(StoppedError):
        quantize(library, wide, "Q4_0", progress=progress, stop=stop)
    assert seen[0] == "quantizing"
    assert left(library) == []
    assert library.entries() == [wide]


def test_a_disk_that_fills_up_is_noticed_and_leaves_nothing(library: Library, wide: Entry) -> None:
    # llama.cpp does not look whether its writes succeed.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(
            WorldError, match="could not be written whole, most likely since the disk is full"
        ):
            quantize(library, wide, "Q4_0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left(library) == []
    assert library.entries() == [wide]


def test_no_space_is_said_before_anything_is_written(
    library: Library, wide: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(library.folder)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(WorldError, match=r"no space for Q4_0: it takes 1[67] MiB, and .* has 0 MiB free"):
        quantize(library, wide, "Q4_0")


def test_an_architecture_that_llama_cpp_does_not_know_is_refused(library: Library) -> None:
    overrides: dict[str, str | int] = {
        "general.architecture": "unheard-of",
        "unheard-of.block_count": 4,
        "unheard-of.context_length": 256,
        "unheard-of.embedding_length": 64,
        "unheard-of.attention.head_count": 2,
    }
    entry = add_tiny(library, "x@1", overrides=dict(overrides))
    with pytest.raises(PeerError, match="unknown model architecture: 'unheard-of'"):
        quantize(library, entry, "Q4_0")


def test_a_file_that_was_damaged_in_the_library_does_not_reach_llama_cpp(
    library: Library, wide: Entry
) -> None:
    path = library.path(wide)
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)
    with pytest.raises(PeerError, match="truncated"):
        quantize(library, wide, "Q4_0")


def skerry(*arguments: str, library: Library) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from skerry_controller.cli import main; main()", "model", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"SKERRY_LIBRARY": str(library.folder)},
    )


def test_the_command_tells_what_comes_and_prints_the_entry(library: Library, wide: Entry) -> None:
    library.close()
    planned = skerry("quantize", "wide", "tq2_0", "--dry-run", "--json", library=library)
    assert json.loads(planned.stdout)["tensor_types"]["TQ2_0"] > 0
    made = skerry("quantize", "wide", "tq2_0", "--as", "small@2", "--json", library=library)
    assert json.loads(made.stdout)["ref"] == "small@2"
    assert "TQ2_0 will take" in made.stderr
    assert "trained with ternary weights" in made.stderr


@pytest.mark.parametrize("model", [pytest.param(SMOLLM2, marks=NEEDED[SMOLLM2.label])])
def test_smollm2_in_ternary_is_mostly_something_else(library: Library, model: object) -> None:
    entry = library.add(SMOLLM2.path, ArtifactRef("smollm2", "1"), origin=origin_of(SMOLLM2.path))
    plan = plan_quantization(library, entry, "TQ2_0")
    assert plan.tensor_types == {"Q4_0": 180, "F32": 61, "TQ2_0": 30, "Q8_0": 1}
    assert len(plan.warnings) == 3

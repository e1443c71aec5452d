"""The bench on a tiny model, in real children."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry_controller.errors import ControllerError
from skerry_controller.workshop.library import Library, Origin
from skerry_controller.workshop.measuring import BenchPlan, bench_model
from skerry_controller.workshop.progress import StoppedError, StopSign
from skerry_protocol.names import ArtifactRef
from support.tiny_gguf import write_tiny_gguf

PLAN = BenchPlan(
    threads=(1,),
    batches=(32,),
    depths=(0, 16),
    contexts=(64,),
    repetitions=2,
    prompt_tokens=32,
    answer_tokens=4,
)
REF = ArtifactRef("tiny", "1")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library") as library:
        file = write_tiny_gguf(tmp_path / "tiny.gguf", blocks=2)
        library.add(file, REF, origin=Origin("file", str(file), library.now()))
        yield library


def test_a_bench_keeps_speed_loading_and_memory_with_machine_versions_and_spread(library: Library) -> None:
    entry = library.find("tiny@1")
    bench_model(library, entry, PLAN)
    kept = {figures.kind: figures for figures in library.figures(entry)}
    assert set(kept) == {"speed", "load", "memory"}
    speed = kept["speed"]
    for name in ("prompt_tok_s", "generation_tok_s"):
        for depth in (0, 16):
            figure = speed.find(name, threads=1, depth=depth)
            assert figure is not None
            assert 0 < figure.low <= figure.median <= figure.high
            assert figure.repetitions == 2
    assert speed.find("first_token_ms", threads=1) is not None
    assert kept["load"].find("load_cold_ms") is not None
    assert kept["load"].find("load_warm_ms") is not None
    measured = kept["memory"].find("measured_bytes", context=64)
    rss = kept["memory"].find("rss_bytes", context=64)
    assert measured is not None
    assert rss is not None
    assert entry.description.weights_bytes < measured.median < rss.median
    assert speed.machine.device_class.startswith(speed.machine.arch)
    assert {"llama_cpp_python", "kernel", "python", "skerry"} <= set(speed.versions)
    assert any("energy" in note for note in speed.notes)


def test_a_damaged_file_gives_one_line_and_keeps_nothing(library: Library) -> None:
    entry = library.find("tiny@1")
    path = library.path(entry)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.truncate(entry.length // 2)
    with pytest.raises(ControllerError) as refused:
        bench_model(library, entry, PLAN)
    assert "\n" not in str(refused.value)
    assert library.figures(entry) == []


def test_a_bench_that_is_stopped_keeps_nothing_half(library: Library) -> None:
    stop = StopSign()

    def stop_at_memory(what: str, done: float, total: float | None = None) -> None:
        if what.startswith("memory"):
            stop.stop()

    entry = library.find("tiny@1")
    with pytest.raises(StoppedError):
        bench_model(library, entry, PLAN, progress=stop_at_memory, stop=stop)
    assert [figures.kind for figures in library.figures(entry)] == ["load"]

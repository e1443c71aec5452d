"""Quality measured by the real llama.cpp in a real child."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry_agent.runtime import ModelFile
from skerry_controller.errors import UsageError
from skerry_controller.workshop.library import Entry, Figures, Library
from skerry_controller.workshop.measuring import evaluate_model
from skerry_controller.workshop.progress import StoppedError, StopSign
from skerry_protocol.names import ArtifactRef
from support.library import origin_of
from support.real_models import NEEDED, SMOLLM2
from support.tiny_gguf import write_tiny_gguf


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library") as opened:
        yield opened


def _added(library: Library, path: Path, name: str) -> Entry:
    return library.add(path, ArtifactRef(name, "1"), origin=origin_of(path))


def _value(figures: Figures, name: str) -> float:
    found = figures.find(name)
    assert found is not None, name
    assert found.low <= found.median <= found.high
    return found.median


def test_a_model_is_no_distance_from_itself_and_another_is(library: Library, tmp_path: Path) -> None:
    one = _added(library, write_tiny_gguf(tmp_path / "one.gguf", embedding=64), "one")
    other = _added(library, write_tiny_gguf(tmp_path / "other.gguf", embedding=64, seed=5), "other")
    same, answers = evaluate_model(library, one, against=one, quick=True)
    assert _value(same, "kl_divergence") == pytest.approx(0.0, abs=1e-9)
    assert _value(same, "same_top_share") == 1.0
    assert _value(same, "perplexity") > 1.0
    assert 0.0 <= _value(answers, "answers_right_share") <= 1.0
    apart, _ = evaluate_model(library, one, against=other, quick=True)
    assert _value(apart, "kl_divergence") > 0.0
    assert apart.parent_sha256 == other.sha256
    assert {figures.kind for figures in library.figures(one)} == {"quality", "questions"}


def test_nothing_is_kept_of_what_was_stopped(library: Library, tmp_path: Path) -> None:
    one = _added(library, write_tiny_gguf(tmp_path / "one.gguf"), "one")
    stop = StopSign()
    stop.stop()
    with pytest.raises(StoppedError):
        evaluate_model(library, one, stop=stop)
    assert library.figures(one) == []


@pytest.mark.parametrize("model", [pytest.param(SMOLLM2, marks=NEEDED[SMOLLM2.label])])
def test_a_real_model_answers_what_a_random_one_does_not(
    library: Library, tmp_path: Path, model: ModelFile
) -> None:
    real = _added(library, model.path, "smollm2")
    tiny = _added(library, write_tiny_gguf(tmp_path / "tiny.gguf"), "tiny")
    quality, answers = evaluate_model(library, real, quick=True)
    assert 5 < _value(quality, "perplexity") < 60
    assert 0.5 < _value(quality, "bits_per_byte") < 2
    assert _value(answers, "answers_right_share") > 0.2
    with pytest.raises(UsageError, match="other tokens"):
        evaluate_model(library, real, against=tiny, quick=True)

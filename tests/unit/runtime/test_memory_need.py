from pathlib import Path

import pytest

from skerry_agent.runtime import RunnerOptions, cache_tokens, check_model_file
from skerry_agent.runtime.memory_need import Holding, predict_need
from skerry_agent.runtime.system_memory import ProcessMemory
from skerry_protocol.model_description import MemoryNeed
from support.tiny_gguf import write_tiny_gguf

NEED = MemoryNeed(weights_bytes=100, cache_bytes=20, compute_bytes=30, process_bytes=50)


@pytest.mark.parametrize(
    ("options", "trained", "cells"),
    [
        (RunnerOptions(context_tokens=512), 2048, 1024),
        (RunnerOptions(context_tokens=4096), 2048, 4096),
        (RunnerOptions(context_tokens=512), 0, 1024),
        (RunnerOptions(context_tokens=512, kv_tokens=700), 2048, 700),
        (RunnerOptions(context_tokens=512, kv_tokens=100), 2048, 512),
    ],
)
def test_the_cache_holds_two_contexts_or_what_was_asked_for(
    options: RunnerOptions, trained: int, cells: int
) -> None:
    assert cache_tokens(options, trained) == cells


def test_a_header_predicts_by_purpose(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", context=128)
    description = check_model_file(path)
    need = predict_need(description, path, RunnerOptions(context_tokens=64))
    assert need.weights_bytes == description.weights_bytes
    assert need.cache_bytes == 128 * description.kv_bytes_per_token
    assert need.process_bytes > 40 << 20
    assert need.vectors_bytes > 64 * description.kv_bytes_per_token
    assert need.parked_bytes == 32 * description.kv_bytes_per_token
    alone = predict_need(description, path, RunnerOptions(context_tokens=64, share_prefixes="off"))
    assert alone.parked_bytes == 0
    assert need.process_bytes == alone.process_bytes + 33 * 4 * description.vocabulary_size


def test_a_file_that_was_not_described_needs_its_size(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(bytes(77))
    assert predict_need(None, path, RunnerOptions()).total_bytes == 77
    assert predict_need(None, tmp_path / "gone", RunnerOptions()).total_bytes == 0


@pytest.mark.parametrize(
    ("measured", "counted"),
    [
        pytest.param([], 200, id="the prediction before the first measurement"),
        pytest.param([(60, 100)], 190, id="less than predicted, with the buffers still to come"),
        pytest.param([(90, 100)], 220, id="more than predicted"),
        pytest.param([(60, 100), (70, 100)], 190, id="the buffers came in part"),
        pytest.param([(60, 100), (120, 100)], 220, id="more buffers than predicted"),
        pytest.param([(60, 100), (120, 100), (50, 100)], 220, id="the most that was seen counts"),
        pytest.param([(60, 10)], 190, id="weights that the kernel dropped for now count"),
        pytest.param([(60, 100), (0, 0)], 190, id="a process that is gone tells nothing"),
    ],
)
def test_measuring_corrects_the_prediction(measured: list[tuple[int, int]], counted: int) -> None:
    holding = Holding(NEED)
    for private, files in measured:
        holding.measure(ProcessMemory(private, files))
    assert holding.bytes == counted
    assert (holding.measured_bytes is None) == (not measured)

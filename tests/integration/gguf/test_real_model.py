"""SmolLM2-135M-Instruct as it is, from the folder where ``make models`` keeps it."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry_protocol.chunking import ChunkLimits, chunk_file, plan_chunks
from skerry_protocol.gguf_check import read_model_header
from skerry_protocol.model_description import describe_model

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
MODEL = CACHE / "skerry" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not MODEL.exists(), reason="the real model is not there: make models"),
]


@pytest.fixture(scope="module")
def view() -> Iterator[mmap.mmap]:
    with MODEL.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as opened:
        yield opened


def test_it_is_described(view: mmap.mmap) -> None:
    description = describe_model(read_model_header(view))

    assert description.architecture == "llama"
    assert description.licence == "apache-2.0"
    assert description.parameters == 134_515_008
    assert description.parameter_class == "micro"
    assert description.quantization == description.dominant_tensor_type == "Q4_1"
    assert description.tensor_bytes == {"Q4_1": 66_355_200, "Q8_0": 30_081_024, "F32": 140_544}
    assert (description.context_length, description.block_count) == (8192, 30)
    assert description.kv_bytes_per_token == 30 * 3 * (64 + 64) * 2
    assert description.has_chat_template


def test_it_is_cut_into_chunks_of_sensible_size_and_number(view: mmap.mmap) -> None:
    header = read_model_header(view)
    chunked = chunk_file(view, plan_chunks(len(view), header))

    assert chunked.sha256 == SHA256
    assert len(chunked.chunks) < 320
    assert max(chunk.length for chunk in chunked.chunks) <= ChunkLimits().max_chunk_bytes
    starts = {chunk.offset for chunk in chunked.chunks}
    assert {tensor.offset for tensor in header.tensors if tensor.length >= 16 * 1024} <= starts

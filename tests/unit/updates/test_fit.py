import pytest

from skerry_agent.updates.fit import check_memory, predict_memory
from skerry_protocol.manifest import Chunk, FileEntry, Manifest, Variant

MIB = 1 << 20
ENTRY = FileEntry(sha256="a" * 64, length=100 * MIB, chunks=(Chunk(0, 100 * MIB, "b" * 64),))


def manifest(memory_bytes: int | None = None, **description: int) -> Manifest:
    return Manifest(
        name="smol",
        version="1",
        kind="model",
        variants=(Variant(files=(ENTRY,)),),
        memory_bytes=memory_bytes,
        description={**description},
    )


@pytest.mark.parametrize(
    ("given", "need", "words"),
    [
        pytest.param(manifest(), 100, "100 MiB (weights 100)", id="no prediction: the weights at least"),
        pytest.param(manifest(300 * MIB), 300, "300 MiB (weights 100)", id="a prediction alone"),
        pytest.param(
            manifest(300 * MIB, context_length=8192, kv_bytes_per_token=1024),
            304,
            "304 MiB (weights 100, KV cache of 8192 tokens 8)",
            id="a longer context than the usual one",
        ),
        pytest.param(
            manifest(300 * MIB, context_length=512, kv_bytes_per_token=10240),
            300,
            "300 MiB (weights 100, KV cache of 1024 tokens 10)",
            id="a model that was trained for less",
        ),
        pytest.param(
            manifest(300 * MIB, context_length=-1, kv_bytes_per_token=True),
            300,
            "300 MiB (weights 100)",
            id="a description that says nothing",
        ),
    ],
)
def test_the_need_is_that_of_this_device(given: Manifest, need: int, words: str) -> None:
    found = predict_memory(given, ENTRY, lambda trained: 2 * min(4096, trained))
    assert found == (need * MIB, words)


def test_a_refusal_has_the_numbers() -> None:
    need = predict_memory(manifest(300 * MIB), ENTRY, lambda trained: trained)
    assert check_memory("smol@1", need, 300 * MIB) is None
    reason = check_memory("smol@1", need, 210 * MIB)
    assert reason is not None
    assert (reason.code, reason.message) == (
        "no_memory",
        "smol@1 needs about 300 MiB (weights 100) and 210 MiB can be had: 90 MiB are missing",
    )

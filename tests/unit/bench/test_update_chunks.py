"""The pure parts of ``make bench-updates``."""

import hashlib
import random

import numpy as np

from bench.updates import content_chunks, finetune
from bench.updates.content_chunks import MAX_BYTES, MIN_BYTES, TARGET_BYTES, cut
from bench.updates.metadata_fix import TEMPLATE_KEY, with_entry
from skerry_protocol.gguf_header import read_gguf_header
from support.gguf_bytes import GgufBytes, Tensor


def random_bytes(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)  # noqa: S311 - repeatable test data


def test_the_gear_hash_of_all_places_is_that_of_each() -> None:
    data = random_bytes(300)
    gear = [int(value) for value in content_chunks._GEAR]
    hashes, rolling = [], 0
    for byte in data:
        rolling = ((rolling << 1) + gear[byte]) & ((1 << 64) - 1)
        hashes.append(rolling)
    assert content_chunks.window_hashes(np.frombuffer(data, np.uint8)).tolist() == hashes


def test_chunks_cover_the_file_within_their_bounds() -> None:
    data = random_bytes(3_000_000) + bytes(500_000)
    chunks = cut(data)
    assert [start for start, _ in chunks[1:]] == [start + length for start, length in chunks[:-1]]
    assert sum(length for _, length in chunks) == len(data)
    assert all(MIN_BYTES <= length <= MAX_BYTES for _, length in chunks[:-1])
    assert 0.5 < len(data) / len(chunks) / TARGET_BYTES < 1.5


def test_what_is_put_in_front_moves_few_chunks() -> None:
    data = random_bytes(3_000_000)
    old = {hashlib.sha256(data[a : a + n]).digest() for a, n in cut(data)}
    moved = random_bytes(12_345, 2) + data
    new = [(hashlib.sha256(moved[a : a + n]).digest(), n) for a, n in cut(moved)]
    assert sum(n for digest, n in new if digest not in old) < 4 * MAX_BYTES


def test_an_empty_file_has_no_chunks() -> None:
    assert cut(b"") == []


def test_a_metadata_entry_is_replaced_or_added_and_nothing_else_changes() -> None:
    data = GgufBytes([], [Tensor("a"), Tensor("b")]).build()
    for text in ("short", "longer " * 50):
        header = read_gguf_header(data)
        new = b"".join(with_entry(memoryview(data), header, TEMPLATE_KEY, text))
        fixed = read_gguf_header(new)
        assert fixed.metadata[TEMPLATE_KEY] == text
        assert len(fixed.entries) == 1
        assert new[fixed.data_offset :] == data[header.data_offset :]
        assert [t.name for t in fixed.tensors] == [t.name for t in header.tensors]
        data = new


def test_a_simulated_fine_tune_has_the_rank_and_the_norm_that_it_says() -> None:
    matrix = np.random.default_rng(1).standard_normal((96, 160)).astype(np.float16)
    changed = matrix.copy()
    finetune.low_rank(0.01)(np.random.default_rng(2), changed)
    difference = changed.astype(np.float64) - matrix
    assert abs(np.linalg.norm(difference) / finetune.norm(matrix) - 0.01) < 0.0005
    singular = np.linalg.svd(difference, compute_uv=False)
    # F16 rounds, so what is beyond the rank is small, not nothing.
    assert np.sum(singular[finetune.RANK :] ** 2) < 0.02 * np.sum(singular**2)

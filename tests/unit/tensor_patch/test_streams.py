"""Streams are short whatever they hold, though not every form of them is tried to the end."""

import math

import pytest

from skerry_protocol.tensor_patch.streams import Reader, read_stream, write_stream
from support.dice import dice

LENGTH = 200_000


def sparse(share: float, values: int) -> bytes:
    """Independent numbers, of which this share is not zero, with ``values`` different ones."""
    source = dice(21)
    return bytes(source.randint(1, values) if source.random() < share else 0 for _ in range(LENGTH))


def entropy_bytes(data: bytes) -> float:
    counts = [data.count(value) for value in range(256)]
    return sum(count * math.log2(len(data) / count) for count in counts if count) / 8


@pytest.mark.parametrize("values", [1, 3, 40])
@pytest.mark.parametrize("share", [0.002, 0.02, 0.1, 0.3, 0.6])
def test_rare_and_frequent_numbers_cost_about_their_entropy(share: float, values: int) -> None:
    data = sparse(share, values)
    written = write_stream(data)
    assert read_stream(Reader(written), len(data)) == data
    assert len(written) < 1.06 * entropy_bytes(data) + 64


@pytest.mark.parametrize("distance", [0, 1, 253, 254, 255, 256, 508, 509, 510, 511, 765, 20_000])
def test_gaps_of_every_length_come_back(distance: int) -> None:
    data = (bytes(distance) + b"\x07" + bytes(distance) + b"\x01\x02") * 5 + bytes(20_000)
    assert read_stream(Reader(write_stream(data)), len(data)) == data


def test_numbers_that_repeat_are_found_to() -> None:
    data = dice(22).randbytes(1000) * 100
    assert len(write_stream(data)) < 1500

"""A patch comes from a network: whatever it says, the answer is bytes of the right length or a refusal."""

import contextlib
import lzma
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_protocol.errors import MalformedError, TooLargeError
from skerry_protocol.tensor_patch import PatchLimits, decode_patch, encode_patch
from skerry_protocol.tensor_patch.streams import Reader, read_stream, unzstd, write_number, write_stream
from support.dice import dice

KINDS = ["F16", "F32", "Q4_0", "Q5_1", "Q8_0", "Q4_K", "Q6_K", "Q3_K"]


def pair(kind: str) -> tuple[bytes, bytes]:
    old = dice(1).randbytes(4200)
    new = bytearray(old)
    for position in range(0, len(new), 9):
        new[position] ^= 3
    return old, encode_patch(old, bytes(new), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_patch_gives_other_bytes_or_is_refused(kind: str) -> None:
    old, patch = pair(kind)
    source = dice(2)
    for _ in range(60):
        damaged = bytearray(patch)
        for _ in range(source.randrange(1, 4)):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        try:
            assert len(decode_patch(old, bytes(damaged))) == len(old)
        except MalformedError:
            continue


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_that_ends_early_is_refused(kind: str) -> None:
    old, patch = pair(kind)
    for length in range(0, len(patch), 13):
        with pytest.raises(MalformedError):
            decode_patch(old, patch[:length])


def test_bytes_behind_the_end_are_refused() -> None:
    old, patch = pair("Q4_0")
    with pytest.raises(MalformedError, match="behind its end"):
        decode_patch(old, patch + b"\0")


def test_a_patch_for_bytes_of_another_length_is_refused() -> None:
    old, patch = pair("Q4_0")
    with pytest.raises(MalformedError):
        decode_patch(old[:-18], patch)


def test_more_than_the_limit_is_refused_before_anything_is_done() -> None:
    with pytest.raises(TooLargeError):
        decode_patch(bytes(100), b"", limits=PatchLimits(max_length=99))


@given(st.binary(max_size=200), st.integers(0, 300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_stream_of_the_asked_length_or_refused(data: bytes, length: int) -> None:
    with contextlib.suppress(MalformedError):
        assert len(read_stream(Reader(data), length)) == length


@given(st.binary(max_size=400), st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_streams_come_back(data: bytes, zeros: int) -> None:
    numbers = b"".join(bytes(zeros) + bytes([value]) for value in data)
    reader = Reader(write_stream(numbers))
    assert read_stream(reader, len(numbers)) == numbers
    reader.end()


@pytest.mark.parametrize("coder", [1, 2])
def test_a_bomb_takes_no_memory(coder: int) -> None:
    bomb = bytes(200_000_000)
    body = (
        zstandard.compress(bomb)
        if coder == 1
        else lzma.compress(
            bomb[:50_000_000],
            format=lzma.FORMAT_RAW,
            filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0}],
        )
    )
    del bomb
    stream = bytes([1, coder]) + write_number(1000) + write_number(len(body)) + body
    tracemalloc.start()
    with contextlib.suppress(MalformedError):
        assert len(read_stream(Reader(stream), 1000)) == 1000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_a_frame_that_wants_a_large_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    body = zstandard.ZstdCompressor(compression_params=parameters).compress(dice(1).randbytes(1 << 24))
    with pytest.raises(MalformedError):
        unzstd(body, 1000)

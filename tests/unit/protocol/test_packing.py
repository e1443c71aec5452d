import contextlib
import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from skerry_protocol.errors import MalformedError, ProtocolError, TooLargeError
from skerry_protocol.packing import pack, unpack


def manifest_like(seed: int, count: int) -> bytes:
    digits = random.Random(seed)  # noqa: S311 - repeatable test data
    hashes = (digits.randbytes(32).hex().encode() for _ in range(count))
    return b",".join(b'[%d,1048576,"%s"]' % (index << 20, sha256) for index, sha256 in enumerate(hashes))


@given(content=st.binary(max_size=2000), base=st.none() | st.binary(max_size=2000))
def test_what_was_packed_comes_back(content: bytes, base: bytes | None) -> None:
    packed = pack(content, base)
    assert len(packed) <= len(content) + 1
    assert unpack(packed, max_bytes=len(content), base=base) == content


def test_the_next_manifest_costs_what_changed() -> None:
    old = manifest_like(1, 4000)
    new = old.replace(b"[0,", b"[7,", 1) + b',[1,2,"' + b"ab" * 32 + b'"]'
    assert len(pack(new)) < 0.55 * len(new)
    assert len(pack(new, old)) < 1000


@pytest.mark.parametrize("count", [1, 300])
def test_another_base_is_noticed(count: int) -> None:
    old = manifest_like(1, count)
    packed = pack(old + b"more", old)
    assert packed[0] == 2
    for other in (None, manifest_like(2, count), old[:-1]):
        with pytest.raises(MalformedError):
            unpack(packed, max_bytes=len(old) + 4, base=other)


def test_nothing_longer_than_the_limit_is_unpacked() -> None:
    for content in (bytes(10_000), random.Random(1).randbytes(10_000)):  # noqa: S311 - repeatable test data
        with pytest.raises(TooLargeError):
            unpack(pack(content), max_bytes=9_999)
    # A frame that does not say its length would have to be tried.
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    with pytest.raises(MalformedError):
        unpack(b"\1" + compressor.compress(bytes(10_000)), max_bytes=100_000)
    # One that asks for a window of gigabytes is not followed.
    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    huge = zstandard.ZstdCompressor(compression_params=parameters)
    stream = huge.compressobj(size=1 << 29)
    started = stream.compress(bytes(1 << 16)) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    with pytest.raises(ProtocolError):
        unpack(b"\1" + started, max_bytes=1 << 30)


@given(st.binary(max_size=200))
def test_rubbish_is_refused_or_short(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert len(unpack(data, max_bytes=1000, base=b"base" * 20)) <= 1000

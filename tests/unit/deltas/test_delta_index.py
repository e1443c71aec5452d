"""Delta indexes: what they may say, and where they are signed."""

import zlib
from typing import Any

import msgspec
import pytest
import zstandard

from skerry_protocol.deltas import (
    DeltaIndex,
    DeltaPiece,
    decode_delta_index,
    delta_path,
    encode_delta_index,
    make_chunk,
    parse_delta_path,
)
from skerry_protocol.errors import MalformedError, NameSyntaxError, ProtocolError
from skerry_protocol.names import parse_target_path
from skerry_protocol.tensor_patch import encode_patch

FILE, BASE, PACK = "a" * 64, "b" * 64, "c" * 64
PATH = delta_path("m", FILE, BASE)


def piece(**changes: Any) -> DeltaPiece:
    values: dict[str, Any] = {
        "chunk_offset": 0,
        "chunk_length": 1000,
        "coding": "patch",
        "base_offset": 0,
        "base_length": 1000,
        "offset": 0,
        "length": 100,
        "check": 1,
    }
    return DeltaPiece(**(values | changes))


def index(*pieces: DeltaPiece, **changes: Any) -> DeltaIndex:
    values: dict[str, Any] = {
        "name": "m",
        "file_sha256": FILE,
        "file_length": 5000,
        "base_sha256": BASE,
        "base_length": 5000,
        "pack_sha256": PACK,
        "pack_length": 500,
        "pieces": pieces or (piece(),),
    }
    return DeltaIndex(**(values | changes))


def test_an_index_comes_back() -> None:
    second = piece(chunk_offset=1000, coding="zstd", base_length=0, offset=100)
    third = piece(chunk_offset=2500, coding="against", base_offset=4, base_length=77, offset=300)
    whole = index(piece(), second, third)
    assert decode_delta_index(encode_delta_index(whole), PATH) == whole


@pytest.mark.parametrize("base", [BASE, None])
def test_a_path_says_file_and_base(base: str | None) -> None:
    path = delta_path("smollm2.x", FILE, base)
    assert parse_delta_path(path) == ("smollm2.x", FILE, base)
    with pytest.raises(NameSyntaxError):
        parse_target_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "models/m/1.json",
        f"configs/m/_delta.{FILE}.{BASE}.json",
        f"models/m/_delta.{FILE}.json",
        f"models/m/_delta.{FILE}.{BASE}.{BASE}.json",
        f"models/m/_delta.{FILE.upper()}.whole.json",
        f"models/m/{FILE}.whole.json",
        f"models/M/_delta.{FILE}.whole.json",
        f"models/a/b/_delta.{FILE}.whole.json",
    ],
)
def test_other_paths_are_not_those_of_indexes(path: str) -> None:
    assert parse_delta_path(path) is None


@pytest.mark.parametrize(
    "wrong",
    [
        index(piece(), piece(offset=100)),
        index(piece(), piece(chunk_offset=999, offset=100)),
        index(piece(), piece(chunk_offset=1000, offset=99)),
        index(piece(chunk_offset=4001)),
        index(piece(offset=401)),
        index(piece(base_offset=4001)),
        index(piece(base_length=999)),
        index(piece(coding="zstd")),
        index(piece(coding="against", base_length=2_000_000), base_length=1 << 40),
        index(piece(length=0)),
        index(piece(length=1000), pack_length=1000),
        index(piece(chunk_length=2_000_000, base_length=2_000_000), file_length=1 << 40, base_length=1 << 40),
        index(file_length=1 << 50),
        index(pack_length=-1),
        index(base_sha256=None),
        index(base_length=0),
        index(base_sha256="d" * 64),
        index(file_sha256="d" * 64),
        index(name="other"),
        index(pack_sha256="../../etc"),
        msgspec.structs.replace(index(), pieces=()),
    ],
)
def test_what_contradicts_itself_is_refused(wrong: DeltaIndex) -> None:
    with pytest.raises(ProtocolError):
        decode_delta_index(encode_delta_index(wrong), PATH)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"v":2}', b"[" * 100_000])
def test_what_is_no_index_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_delta_index(data, PATH)


def test_chunks_are_made_in_each_way() -> None:
    base, chunk = b"abcdefgh" * 125, b"abcdefgx" * 125
    patch = encode_patch(base, chunk, "Q8_0")
    assert make_chunk(piece(), patch, base) == chunk
    assert make_chunk(piece(coding="zstd", base_length=0), zstandard.compress(chunk), b"") == chunk
    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    against = zstandard.ZstdCompressor(dict_data=dictionary).compress(chunk)
    assert make_chunk(piece(coding="against"), against, base) == chunk


@pytest.mark.parametrize("coding", ["zstd", "against", "patch"])
@pytest.mark.parametrize("data", [b"", b"\0", b"nonsense", zstandard.compress(bytes(10**7))])
def test_nonsense_and_bombs_make_no_chunk(coding: str, data: bytes) -> None:
    base = bytes(0 if coding == "zstd" else 1000)
    with pytest.raises(MalformedError):
        make_chunk(piece(coding=coding, base_length=len(base)), data, base)


def test_the_check_tells_a_damaged_piece() -> None:
    sound = piece(length=3, check=zlib.crc32(b"abc"))
    assert sound.is_right(b"abc")
    assert not sound.is_right(b"abd")
    assert not sound.is_right(b"abcd")

"""The bundle's documents, names and frames, and hostile ones."""

import io

import pytest

from skerry_protocol.bundle import (
    BUNDLE_LIMITS,
    BundleHead,
    ChunkIndex,
    PackedChunk,
    acks_name,
    back_name,
    check_file_name,
    decode_head,
    decode_index,
    desired_name,
    encode_head,
    encode_index,
    frame,
    pack_name,
    read_frames,
    repository_file,
)
from skerry_protocol.codec import encode
from skerry_protocol.errors import MalformedError, NameSyntaxError, ProtocolError, TooLargeError

SHA = "ab" * 32
DEVICE = "d-" + "a" * 16


def test_head_and_index_come_back_as_they_were() -> None:
    head = BundleHead(fleet="f-1", created_at=5, expires_at=6, artifacts=("tiny@1",), devices=(DEVICE,))
    index = ChunkIndex(packs=(10, 7), chunks=(PackedChunk(SHA, 1, 3, 7), PackedChunk("cd" * 32, 2, 0, 7)))
    assert decode_head(encode_head(head)) == head
    assert decode_index(encode_index(index)) == index


@pytest.mark.parametrize(
    "chunk",
    [
        PackedChunk(SHA, 0, 0, 1),
        PackedChunk(SHA, 2, 0, 1),
        PackedChunk(SHA, 1, 0, 0),
        PackedChunk(SHA, 1, 9, 2),
        PackedChunk(SHA, 1, 2**53 - 1, 2**53 - 1),
        PackedChunk("../../etc/passwd", 1, 0, 1),
    ],
)
def test_an_index_that_leads_out_of_its_packs_is_refused(chunk: PackedChunk) -> None:
    with pytest.raises(MalformedError):
        decode_index(encode(ChunkIndex(packs=(10,), chunks=(chunk,))))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"v": 2}',
        b'{"v": 1}',
        b"[" * 100_000,
        b'{"v":1,"packs":[-1],"chunks":[]}',
        b'{"v":1,"packs":[0],"chunks":[]}',
        b'{"v":1,"packs":[1e300],"chunks":[]}',
    ],
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_index(data)
    with pytest.raises(ProtocolError):
        decode_head(data)


def test_documents_beyond_their_limits_are_refused_unread() -> None:
    with pytest.raises(TooLargeError):
        decode_index(b" " * (BUNDLE_LIMITS.max_index_bytes + 1))
    with pytest.raises(TooLargeError):
        decode_head(b" " * (BUNDLE_LIMITS.max_head_bytes + 1))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("timestamp.json", "metadata/timestamp.json"),
        ("12.root.json", "metadata/12.root.json"),
        (f"models/smollm2/{SHA}.1.json", f"targets/{SHA}"),
        (f"fleet/{SHA}.trust.json", f"targets/{SHA}"),
        ("../timestamp.json", None),
        ("TIMESTAMP.json", None),
        ("models/smollm2/1.json", None),
        (f"models/{SHA}", None),
        (f"/{SHA}.x", None),
        ("", None),
    ],
)
def test_each_file_of_the_repository_has_one_place(name: str, place: str | None) -> None:
    assert repository_file(name) == place


def test_every_name_that_a_bundle_has_may_be_opened_and_no_other() -> None:
    own = ["SHA256SUMS", "bundle.json", pack_name(1), desired_name(DEVICE), acks_name(DEVICE)]
    for name in (*own, back_name(DEVICE, "records.bin"), f"targets/{SHA}", "metadata/9.models.json"):
        assert check_file_name(name) == name
    for name in (
        "",
        ".",
        "..",
        "/a",
        "a/",
        "a//b",
        "a/../b",
        ".a",
        "a/.b",
        "a\\b",
        "A",
        "a/b/c/d",
        "a\n",
        "a:b",
    ):
        with pytest.raises(NameSyntaxError):
            check_file_name(name)


def test_frames_come_back_in_order() -> None:
    data = b"".join(frame(each) for each in (b"one", b"", b"three"))
    assert list(read_frames(io.BytesIO(data).read)) == [b"one", b"", b"three"]


@pytest.mark.parametrize("cut", [1, 3, 5, 8])
def test_what_stands_before_a_torn_end_counts(cut: int) -> None:
    data = frame(b"first") + frame(b"second")
    reading = read_frames(io.BytesIO(data[:-cut]).read)
    assert next(reading) == b"first"
    with pytest.raises(MalformedError):
        next(reading)


def test_a_frame_beyond_the_limit_is_not_read() -> None:
    asked: list[int] = []

    def read(length: int) -> bytes:
        asked.append(length)
        return b"\xff" * length

    with pytest.raises(TooLargeError):
        next(read_frames(read))
    assert asked == [4]

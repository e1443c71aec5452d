import hashlib
import mmap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_protocol.chunking import (
    ChunkedFile,
    ChunkLimits,
    HashedChunk,
    Span,
    chunk_file,
    hash_chunks,
    plan_chunks,
)
from skerry_protocol.gguf_header import GgufHeader, read_gguf_header
from support.gguf_bytes import GgufBytes, Tensor, text_entry
from support.tiny_gguf import CHATML, write_tiny_gguf

SMALL = ChunkLimits(max_chunk_bytes=512, min_chunk_bytes=128)

tensor_lists = st.lists(
    st.integers(1, 500).map(lambda count: count * 4) | st.integers(1, 20).map(lambda count: count * 4),
    max_size=12,
).map(lambda sizes: [Tensor(f"t{i}", bytes([i + 1]) * size) for i, size in enumerate(sizes)])
entry_lists = st.lists(st.text(max_size=400), max_size=8).map(
    lambda texts: [text_entry(f"k{i}", text) for i, text in enumerate(texts)]
)


def chunked(data: bytes, limits: ChunkLimits | None = None) -> tuple[GgufHeader, ChunkedFile]:
    header = read_gguf_header(data)
    return header, chunk_file(data, plan_chunks(len(data), header, limits))


@given(st.integers(0, 5000))
def test_other_files_are_cut_at_a_fixed_size(length: int) -> None:
    spans = plan_chunks(length, None, SMALL)

    assert sum(span.length for span in spans) == length
    assert all(span.length == 512 for span in spans[:-2])
    assert all(span.length <= 512 for span in spans)
    assert length < 128 or all(span.length >= 128 for span in spans)


@settings(deadline=None)
@given(entry_lists, tensor_lists)
def test_chunks_cover_the_file_exactly_within_the_limits(entries: list[bytes], tensors: list[Tensor]) -> None:
    data = GgufBytes(entries, tensors).build()
    spans = plan_chunks(len(data), read_gguf_header(data), SMALL)

    position = 0
    for span in spans:
        assert span.offset == position
        assert 0 < span.length <= SMALL.max_chunk_bytes
        position += span.length
    assert position == len(data)


@settings(deadline=None)
@given(entry_lists, entry_lists, tensor_lists)
def test_metadata_move_no_tensor_chunk_and_change_no_tensor_list(
    before: list[bytes], after: list[bytes], tensors: list[Tensor]
) -> None:
    old, new = (chunked(GgufBytes(entries, tensors).build(), SMALL) for entries in (before, after))

    def identities(header: GgufHeader, file: ChunkedFile) -> list[str]:
        return [
            chunk.sha256
            for chunk in file.chunks
            if chunk.offset >= header.data_offset or header.entries_end <= chunk.offset < header.tensors_end
        ]

    assert identities(*old) == identities(*new)


@settings(deadline=None)
@given(tensor_lists, st.data())
def test_a_large_tensor_keeps_its_chunks_whatever_its_neighbours_become(
    tensors: list[Tensor], data: st.DataObject
) -> None:
    large = Tensor("large", b"\xaa" * data.draw(st.integers(SMALL.min_chunk_bytes // 4 + 1, 800)) * 4)
    place = data.draw(st.integers(0, len(tensors)))
    among = [*tensors[:place], large, *tensors[place:]]
    alone = {chunk.sha256 for chunk in tensor_chunks([large])}

    assert alone <= {chunk.sha256 for chunk in tensor_chunks(among)}


def test_alignment_belongs_to_the_tensor_before_it() -> None:
    chunks = tensor_chunks([Tensor("a", b"a" * 404), Tensor("b", b"b" * 132), Tensor("c", b"c" * 1012)])

    assert [chunk.length for chunk in chunks] == [416, 160, 512, 512]


def tensor_chunks(tensors: list[Tensor]) -> list[HashedChunk]:
    header, file = chunked(GgufBytes([], tensors).build(), SMALL)
    return [chunk for chunk in file.chunks if chunk.offset >= header.data_offset]


def test_a_longer_chat_template_changes_two_chunks_of_metadata_alone(tmp_path: Path) -> None:
    # With a vocabulary large enough to stand apart, as real ones do.
    (_, old), (header, new) = (
        chunked(write_tiny_gguf(path, chat_template=template, vocabulary_extra=1000).read_bytes())
        for path, template in [(tmp_path / "old", CHATML), (tmp_path / "new", CHATML + "{# a word more #}")]
    )
    changed = [chunk for chunk in new.chunks if chunk.sha256 not in {chunk.sha256 for chunk in old.chunks}]

    # The pack of small entries with the template in it, and the zeros before the data.
    assert len(changed) == 2
    assert all(chunk.offset < header.data_offset for chunk in changed)
    assert sum(chunk.length for chunk in changed) < ChunkLimits().min_chunk_bytes + header.alignment
    assert len(old.chunks) == len(new.chunks)


def test_another_seed_shares_metadata_but_no_matrix(tmp_path: Path) -> None:
    (header, old), (_, new) = (
        chunked(write_tiny_gguf(tmp_path / f"{seed}.gguf", seed=seed).read_bytes()) for seed in (0, 1)
    )
    shared = [chunk for chunk in new.chunks if chunk.sha256 in {chunk.sha256 for chunk in old.chunks}]
    norms = [tensor.offset for tensor in header.tensors if tensor.name.endswith("norm.weight")]

    assert all(chunk.offset < header.data_offset or chunk.offset in norms for chunk in shared)


def test_one_pass_gives_every_chunk_and_the_whole(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf")
    data = path.read_bytes()
    seen: list[int] = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        spans = plan_chunks(len(view), read_gguf_header(view))
        result = chunk_file(view, spans, progress=seen.append)

    assert result.length == len(data)
    assert result.sha256 == hashlib.sha256(data).hexdigest()
    for chunk in result.chunks:
        expected = hashlib.sha256(data[chunk.offset : chunk.offset + chunk.length]).hexdigest()
        assert chunk.sha256 == expected
    assert seen[-1] == len(data)
    assert seen == sorted(seen)


def test_a_stopped_pass_leaves_the_map_closable(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        hashing = hash_chunks(view, plan_chunks(len(view)))
        next(hashing)
        hashing.close()


def test_an_empty_file_has_no_chunks() -> None:
    assert chunk_file(b"", plan_chunks(0)) == ChunkedFile(0, hashlib.sha256(b"").hexdigest(), ())


@pytest.mark.parametrize("spans", [[], [Span(0, 9)], [Span(0, 5), Span(6, 4)], [Span(0, 10), Span(10, 1)]])
def test_chunks_that_do_not_cover_the_file_are_the_callers_bug(spans: list[Span]) -> None:
    with pytest.raises(ValueError, match="chunk"):
        chunk_file(bytes(10), spans)


def test_a_header_of_another_file_is_the_callers_bug() -> None:
    header = read_gguf_header(GgufBytes([], [Tensor("a")]).build())
    with pytest.raises(ValueError, match="header is of a file"):
        plan_chunks(10, header)


@pytest.mark.parametrize(("most", "least"), [(10, 0), (10, 11), (0, 0)])
def test_limits_that_make_no_sense_are_the_callers_bug(most: int, least: int) -> None:
    with pytest.raises(ValueError, match="min_chunk_bytes"):
        ChunkLimits(max_chunk_bytes=most, min_chunk_bytes=least)

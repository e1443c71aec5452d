"""Which chunks a bundle carries, and how they lie in its packs."""

from skerry_controller.bundles.packing import FileChunk, missing_chunks, pack, reads
from skerry_protocol.manifest import Chunk, FileEntry, Manifest, Variant


def sha(letter: str) -> str:
    return letter * 64


def manifest(version: str, *letters: str) -> Manifest:
    """A model whose chunks are ten bytes each, named by letters."""
    chunks = tuple(Chunk(10 * place, 10, sha(letter)) for place, letter in enumerate(letters))
    file = FileEntry(sha256=sha("f"), length=10 * len(letters), chunks=chunks)
    return Manifest(name="m", version=version, kind="model", variants=(Variant(files=(file,)),))


def letters(chunks: list[FileChunk]) -> str:
    return "".join(found.chunk.sha256[0] for found in chunks)


def test_only_what_the_base_lacks_is_carried_and_each_once() -> None:
    assert letters(missing_chunks([manifest("2", *"abcab")], [])) == "abc"
    assert letters(missing_chunks([manifest("2", *"abcd")], [manifest("1", *"bd")])) == "ac"
    assert letters(missing_chunks([manifest("2", *"ab")], [manifest("1", *"ab")])) == ""


def test_no_chunk_spans_two_packs_and_the_index_says_where_each_lies() -> None:
    packing = pack(missing_chunks([manifest("1", *"abcde")], []), max_pack_bytes=25)
    assert packing.index.packs == (20, 20, 10)
    assert [(chunk.pack, chunk.offset) for chunk in packing.index.chunks] == [
        (1, 0),
        (1, 10),
        (2, 0),
        (2, 10),
        (3, 0),
    ]
    assert packing.length == 50


def test_nothing_makes_no_pack() -> None:
    packing = pack([], max_pack_bytes=25)
    assert (packing.index.packs, packing.index.chunks, packing.packs) == ((), (), ())


def test_neighbours_in_a_file_are_one_read() -> None:
    chunks = missing_chunks([manifest("2", *"abxcd")], [manifest("1", "x")])
    assert [letters(group) for group in reads(chunks)] == ["ab", "cd"]
    assert [letters(group) for group in reads(chunks, max_bytes=10)] == ["a", "b", "c", "d"]

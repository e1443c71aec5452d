"""What a bundle carries, and how it lies in its packs."""

from collections.abc import Sequence

from skerry_controller.bundles.deltas import DeltaOffer, choose
from skerry_controller.bundles.packing import FileChunk, pack, reads
from skerry_protocol.deltas import DeltaIndex, DeltaPiece
from skerry_protocol.manifest import Chunk, FileEntry, Manifest, Variant


def sha(letter: str) -> str:
    return letter * 64


def manifest(version: str, *letters: str, file: str = "f") -> Manifest:
    """A model whose chunks are ten bytes each, named by letters."""
    chunks = tuple(Chunk(10 * place, 10, sha(letter)) for place, letter in enumerate(letters))
    entry = FileEntry(sha256=sha(file), length=10 * len(letters), chunks=chunks)
    return Manifest(name="m", version=version, kind="model", variants=(Variant(files=(entry,)),))


def delta(pack: str, length: int, *places: int, file: str = "f") -> DeltaOffer:
    """A delta with a piece for each chunk at one of these places."""
    pieces = tuple(DeltaPiece(10 * place, 10, "zstd", 0, 0, n, 1, 0) for n, place in enumerate(places))
    index = DeltaIndex("m", sha(file), 100, sha("b"), 100, sha(pack), length, pieces)
    return DeltaOffer(f"delta-{pack}", 2, index)


def missing_chunks(wanted: Sequence[Manifest], base: Sequence[Manifest]) -> tuple[FileChunk, ...]:
    return choose(wanted, base, (), 100).chunks


def letters(chunks: Sequence[FileChunk]) -> str:
    return "".join(found.chunk.sha256[0] for found in chunks)


def test_only_what_the_base_lacks_is_carried_and_each_once() -> None:
    assert letters(missing_chunks([manifest("2", *"abcab")], [])) == "abc"
    assert letters(missing_chunks([manifest("2", *"abcd")], [manifest("1", *"bd")])) == "ac"
    assert letters(missing_chunks([manifest("2", *"ab")], [manifest("1", *"ab")])) == ""


def test_a_delta_takes_the_place_of_the_chunks_that_it_makes_when_that_is_less() -> None:
    wanted, base = [manifest("2", *"abcd")], [manifest("1", "a")]
    carried = choose(wanted, base, [delta("5", 9, 1, 2), delta("6", 17, 1, 2, 3)], 100)
    # 9 + 2 and a whole chunk are 21 bytes; 17 + 2 are 19.
    assert (letters(carried.chunks), [one.path for one in carried.deltas]) == ("6", ["delta-6"])
    assert carried.chunks[0].chunk == Chunk(0, 17, sha("6"))
    assert letters(choose(wanted, base, [delta("5", 9, 1, 2)], 100).chunks) == "5d"
    assert letters(choose(wanted, base, [delta("7", 28, 1, 2, 3)], 100).chunks) == "bcd"
    assert letters(choose(wanted, base, [delta("5", 9, 1, 2)], 8).chunks) == "bcd"


def test_a_chunk_that_one_file_gets_by_a_delta_is_carried_whole_for_another_file() -> None:
    wanted = [manifest("2", *"ab"), manifest("3", *"bc", file="e")]
    assert letters(choose(wanted, [], [delta("5", 3, 0, 1)], 100).chunks) == "5bc"


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

"""Which deltas a bundle carries in the place of whole chunks. Functions of values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from skerry_controller.bundles.packing import FileChunk
from skerry_protocol.deltas import DeltaIndex
from skerry_protocol.manifest import Chunk, FileEntry, Manifest


@dataclass(frozen=True, slots=True)
class DeltaOffer:
    """A published delta that the devices of a bundle can use: they have its base, or it needs none.

    Attributes:
        path: Of its index in the repository.
        content_bytes: The length of that.
        index: What it says.
    """

    path: str
    content_bytes: int
    index: DeltaIndex


@dataclass(frozen=True, slots=True)
class Carried:
    """What goes into the packs of a bundle.

    Attributes:
        chunks: Chunks and packs of deltas, each once, in the order of the files. A pack of a delta stands
            there as a chunk that is the whole of its blob.
        deltas: The deltas in it.
    """

    chunks: tuple[FileChunk, ...]
    deltas: tuple[DeltaOffer, ...]


def choose(
    wanted: Iterable[Manifest], base: Iterable[Manifest], offers: Sequence[DeltaOffer], max_pack_bytes: int
) -> Carried:
    """What the devices lack of the wanted files, by the smallest way to each file.

    Args:
        wanted: What the bundle carries.
        base: What the devices have; its chunks are left out.
        offers: Deltas to the wanted files.
        max_pack_bytes: A delta with a longer pack is not carried: it has to fit into one file.
    """
    held = {chunk.sha256 for file in files_of(base) for chunk in file.chunks}
    by_file: dict[str, list[DeltaOffer]] = {}
    for offer in offers:
        if offer.index.pack_length <= max_pack_bytes:
            by_file.setdefault(offer.index.file_sha256, []).append(offer)
    chunks: dict[str, FileChunk] = {}
    deltas: dict[str, DeltaOffer] = {}
    for file in files_of(wanted):
        lacking = {chunk.sha256: chunk for chunk in file.chunks if chunk.sha256 not in held}
        best = _smallest(lacking, by_file.get(file.sha256, ()))
        if best is not None:
            deltas[best.path] = best
            index = best.index
            chunks[index.pack_sha256] = FileChunk(
                index.pack_sha256, Chunk(0, index.pack_length, index.pack_sha256)
            )
            lacking = _without(lacking, best)
        for chunk in lacking.values():
            chunks.setdefault(chunk.sha256, FileChunk(file.sha256, chunk))
    return Carried(tuple(chunks.values()), tuple(deltas.values()))


def _smallest(lacking: Mapping[str, Chunk], offers: Iterable[DeltaOffer]) -> DeltaOffer | None:
    """The delta with which the least has to be carried; None when whole chunks are less."""
    best, best_bytes = None, _length(lacking)
    for offer in offers:
        length = offer.index.pack_length + offer.content_bytes + _length(_without(lacking, offer))
        if length < best_bytes:
            best, best_bytes = offer, length
    return best


def _without(lacking: Mapping[str, Chunk], offer: DeltaOffer) -> dict[str, Chunk]:
    made = {(piece.chunk_offset, piece.chunk_length) for piece in offer.index.pieces}
    return {sha256: chunk for sha256, chunk in lacking.items() if (chunk.offset, chunk.length) not in made}


def _length(chunks: Mapping[str, Chunk]) -> int:
    return sum(chunk.length for chunk in chunks.values())


def files_of(manifests: Iterable[Manifest]) -> list[FileEntry]:
    """The files of all variants, in order."""
    return [file for manifest in manifests for variant in manifest.variants for file in variant.files]

"""Chunks that are made from signed deltas: pieces of a pack, and bytes of a base that is on this device."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.registry import Registry
from skerry_agent.updates.ports import P
from skerry_protocol.deltas import DeltaIndex, DeltaPiece, decode_delta_index, make_chunk, parse_delta_path
from skerry_protocol.desired import TargetRef
from skerry_protocol.errors import ProtocolError
from skerry_protocol.manifest import Chunk

log = structlog.get_logger(__name__)


class DeltaTargets(Protocol):
    """Signed delta indexes (``skerry_agent.trust.FleetTargets``)."""

    def deltas(self, file_sha256: str) -> list[TargetRef]:
        """Those of a file, as far as this device's metadata name them."""

    async def delta(self, ref: TargetRef) -> bytes:
        """The verified bytes of one.

        Raises:
            AgentError: It cannot be had now, or is refused.
        """


class PieceReader(Protocol):
    """Brings pieces of packs (``Network``, or an attached bundle: ``BundleSource``)."""

    @property
    def open(self) -> bool:
        """Whether it may have any now."""

    def read(
        self, blob_sha256: str, pieces: Sequence[P], is_right: Callable[[P, bytes], bool]
    ) -> AsyncGenerator[tuple[P, bytes], None]:
        """Yield those pieces of a blob that it has, each whole and right, in any order.

        Raises:
            AgentError: It cannot bring the rest.
        """


@dataclass(frozen=True, slots=True)
class PatchSettings:
    """Bounds of patching.

    Attributes:
        max_indexes: So many indexes are read for one file at most.
        max_index_bytes: Larger ones are left alone.
    """

    max_indexes: int = 4
    max_index_bytes: int = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Offer:
    """A chunk, the piece that it can be made of, where that is, and where its base is."""

    chunk: Chunk
    piece: DeltaPiece
    pack_sha256: str
    base: Path | None


class PatchSource:
    """Makes chunks where that costs less than to bring the whole ones.

    A patch is only tried when its base is in the registry as a whole file. What does not come out right is
    left to other sources, and not tried again before the agent starts anew.

    Args:
        registry: Has the bases.
        targets: Signed indexes.
        pieces: Brings pieces of packs.
        settings: Bounds.
    """

    name = "patches"

    def __init__(
        self,
        registry: Registry,
        targets: DeltaTargets,
        pieces: PieceReader,
        settings: PatchSettings | None = None,
    ) -> None:
        self._registry = registry
        self._targets = targets
        self._pieces = pieces
        self._settings = settings or PatchSettings()
        self._spoiled: set[tuple[str, int]] = set()

    async def fetch(
        self, file_sha256: str, chunks: Sequence[Chunk]
    ) -> AsyncGenerator[tuple[Chunk, bytes], None]:
        """Yield chunks that were made, each checked.

        Raises:
            SourceError: Nobody brings (the rest of) the pieces.
        """
        if not self._pieces.open:
            return
        packs = _by_pack(await self._offers(file_sha256, chunks))
        # In one thread: each thread keeps the memory that it used once, and patching takes much for a moment.
        worker = ThreadPoolExecutor(1, thread_name_prefix="patches")
        try:
            for pack_sha256, offers in packs:
                async with aclosing(self._make_all(pack_sha256, offers, worker)) as arriving:
                    async for made in arriving:
                        yield made
        finally:
            worker.shutdown(wait=False)

    async def _make_all(
        self, pack_sha256: str, offers: Sequence[_Offer], worker: ThreadPoolExecutor
    ) -> AsyncGenerator[tuple[Chunk, bytes], None]:
        loop = asyncio.get_running_loop()
        by_piece = {offer.piece: offer for offer in offers}
        pieces = self._pieces.read(pack_sha256, list(by_piece), DeltaPiece.is_right)
        async with aclosing(pieces):
            async for piece, data in pieces:
                offer = by_piece[piece]
                made = await loop.run_in_executor(worker, _make, offer, data)
                if made is None:
                    self._spoiled.add((pack_sha256, piece.offset))
                else:
                    yield offer.chunk, made

    async def _offers(self, file_sha256: str, chunks: Sequence[Chunk]) -> list[_Offer]:
        """The smallest piece for each chunk that has one."""
        wanted = {(chunk.offset, chunk.length): chunk for chunk in chunks}
        best: dict[Chunk, _Offer] = {}
        for index, base in await self._indexes(file_sha256):
            for piece in index.pieces:
                chunk = wanted.get((piece.chunk_offset, piece.chunk_length))
                if chunk is None or (index.pack_sha256, piece.offset) in self._spoiled:
                    continue
                if chunk not in best or piece.length < best[chunk].piece.length:
                    best[chunk] = _Offer(chunk, piece, index.pack_sha256, base)
        return list(best.values())

    async def _indexes(self, file_sha256: str) -> list[tuple[DeltaIndex, Path | None]]:
        found: list[tuple[DeltaIndex, Path | None]] = []
        for ref in self._targets.deltas(file_sha256):
            name = parse_delta_path(ref.path)
            if name is None or len(found) >= self._settings.max_indexes:
                continue
            if name.base_sha256 is not None and not self._holds(name.base_sha256):
                continue
            if ref.length > self._settings.max_index_bytes:
                log.warning("delta_index_too_large", path=ref.path, bytes=ref.length)
                continue
            try:
                index = decode_delta_index(await self._targets.delta(ref), ref.path)
            except (AgentError, ProtocolError) as error:
                # Whole chunks do as well.
                log.warning("delta_index_unusable", path=ref.path, error=str(error))
                continue
            base = None
            if index.base_sha256 is not None:
                base = await self._registry.stored(index.base_sha256, index.base_length)
                if base is None:
                    continue
            found.append((index, base))
        return found

    def _holds(self, sha256: str) -> bool:
        return any(a.file_sha256 == sha256 and not a.broken for a in self._registry.artifacts_now)


def _by_pack(offers: Iterable[_Offer]) -> list[tuple[str, list[_Offer]]]:
    packs: dict[str, list[_Offer]] = {}
    for offer in offers:
        packs.setdefault(offer.pack_sha256, []).append(offer)
    return list(packs.items())


def _make(offer: _Offer, data: bytes) -> bytes | None:
    """The chunk, or None when it does not come out right: the base decayed, or the delta is wrong."""
    piece, base = offer.piece, b""
    try:
        if offer.base is not None and piece.base_length:
            with offer.base.open("rb") as file:
                file.seek(piece.base_offset)
                base = file.read(piece.base_length)
        made = make_chunk(piece, data, base)
    except (OSError, ProtocolError) as error:
        log.warning("patch_unusable", base=str(offer.base), offset=piece.chunk_offset, error=str(error))
        return None
    if hashlib.sha256(made).hexdigest() == offer.chunk.sha256:
        return made
    log.warning("patch_gave_other_bytes", base=str(offer.base), offset=piece.chunk_offset)
    return None

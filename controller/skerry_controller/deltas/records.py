"""Published deltas in the database: checked when they come, served with their file, gone with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.blobs import BlobStore
from skerry_controller.database import ArtifactFileRow, ArtifactRow, Database, DeltaRow
from skerry_controller.errors import NotFoundError, PeerError
from skerry_protocol.deltas import DeltaIndex, decode_delta_index
from skerry_protocol.errors import ProtocolError
from skerry_protocol.manifest import decode_manifest


@dataclass(frozen=True, slots=True)
class DeltaInfo:
    """A published delta; lengths in bytes.

    Attributes:
        base_sha256: The file that a device has to hold; None when it needs none.
        bases: Artifacts that have this file.
    """

    target_path: str
    base_sha256: str | None
    bases: tuple[str, ...]
    pack_sha256: str
    pack_length: int
    pieces: int
    published_at: datetime


def describe_delta(path: str, content: bytes) -> DeltaRow:
    """The row of an index; ``published_at`` is left to the caller.

    Raises:
        PeerError: The content is malformed, or belongs elsewhere.
    """
    index = _decode(path, content)
    return DeltaRow(
        target_path=path,
        name=index.name,
        file_sha256=index.file_sha256,
        base_sha256=index.base_sha256,
        pack_sha256=index.pack_sha256,
        pack_length=index.pack_length,
        pieces=len(index.pieces),
    )


async def check_delta(path: str, content: bytes, database: Database, blobs: BlobStore) -> None:
    """Refuse an index that no device could use.

    Raises:
        PeerError: It is malformed, or its chunks are not those of the file.
        NotFoundError: Its file is not published under this name, or its pack was not uploaded.
    """
    index = _decode(path, content)
    async with database.session() as session:
        query = (
            select(ArtifactRow.content)
            .join(ArtifactFileRow, ArtifactFileRow.target_path == ArtifactRow.target_path)
            .where(
                ArtifactFileRow.sha256 == index.file_sha256,
                ArtifactRow.name == index.name,
                ArtifactRow.withdrawn_at.is_(None),
            )
        )
        manifest = await session.scalar(query.limit(1))
    if manifest is None:
        raise NotFoundError(f"no version of {index.name} has the file {index.file_sha256}: publish it first")
    chunks = {
        (chunk.offset, chunk.length)
        for variant in decode_manifest(manifest).variants
        for file in variant.files
        if file.sha256 == index.file_sha256
        for chunk in file.chunks
    }
    if not all((piece.chunk_offset, piece.chunk_length) in chunks for piece in index.pieces):
        raise PeerError(f"{path} is about chunks that its file does not have: make the delta again")
    size = await blobs.size(index.pack_sha256)
    if size != index.pack_length:
        raise NotFoundError(
            f"the pack {index.pack_sha256} is not here with {index.pack_length} bytes: upload it first"
        )


async def record_delta(session: AsyncSession, path: str, content: bytes, now: datetime) -> None:
    """Keep a published index; one that was withdrawn counts again."""
    existing = await session.get(DeltaRow, path)
    if existing is not None:
        existing.withdrawn_at = None
        return
    row = describe_delta(path, content)
    row.published_at = now
    session.add(row)


async def withdraw_deltas(session: AsyncSession, file_sha256: str, now: datetime) -> list[str]:
    """Withdraw all deltas of a file; returns the packs that nothing needs any more."""
    there = (
        await session.scalars(
            select(DeltaRow).where(DeltaRow.file_sha256 == file_sha256, DeltaRow.withdrawn_at.is_(None))
        )
    ).all()
    for row in there:
        row.withdrawn_at = now
    await session.flush()
    packs = {row.pack_sha256 for row in there}
    needed = set(
        await session.scalars(
            select(DeltaRow.pack_sha256).where(
                DeltaRow.pack_sha256.in_(packs), DeltaRow.withdrawn_at.is_(None)
            )
        )
    )
    return sorted(packs - needed)


async def find_deltas(session: AsyncSession, file_sha256: str) -> Sequence[DeltaInfo]:
    """The deltas of a file, those published first before the others."""
    rows = await session.scalars(
        select(DeltaRow)
        .where(DeltaRow.file_sha256 == file_sha256, DeltaRow.withdrawn_at.is_(None))
        .order_by(DeltaRow.published_at)
    )
    return [await _info(session, row) for row in rows.all()]


async def _info(session: AsyncSession, row: DeltaRow) -> DeltaInfo:
    bases: list[str] = []
    if row.base_sha256 is not None:
        query = (
            select(ArtifactRow)
            .join(ArtifactFileRow, ArtifactFileRow.target_path == ArtifactRow.target_path)
            .where(ArtifactFileRow.sha256 == row.base_sha256)
            .distinct()
        )
        bases = [f"{artifact.name}@{artifact.version}" for artifact in await session.scalars(query)]
    return DeltaInfo(
        target_path=row.target_path,
        base_sha256=row.base_sha256,
        bases=tuple(bases),
        pack_sha256=row.pack_sha256,
        pack_length=row.pack_length,
        pieces=row.pieces,
        published_at=row.published_at,
    )


def _decode(path: str, content: bytes) -> DeltaIndex:
    try:
        return decode_delta_index(content, path)
    except ProtocolError as error:
        raise PeerError(f"{path}: {error}") from error

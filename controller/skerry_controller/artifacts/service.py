"""What the server does with artifacts. It verifies and keeps; it holds no key that could sign one."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import select

from skerry_controller.artifacts.adapters import check_adapter
from skerry_controller.artifacts.checking import describe_target
from skerry_controller.artifacts.usage import check_unused, find_with_file
from skerry_controller.audit import note
from skerry_controller.blobs import BlobStore
from skerry_controller.clock import Clock
from skerry_controller.database import ArtifactRow, Database, DeltaRow
from skerry_controller.deltas.records import (
    DeltaInfo,
    check_delta,
    find_deltas,
    record_delta,
    withdraw_deltas,
)
from skerry_controller.errors import ConflictError, NotFoundError, WorldError
from skerry_controller.repository import Publication, Repository, TargetsRole
from skerry_protocol.deltas import parse_delta_path
from skerry_protocol.names import TRUST_TARGET, ArtifactRef

log = structlog.get_logger(__name__)

_ARTIFACT_ROLES: tuple[TargetsRole, ...] = ("models", "configs")


@dataclass(frozen=True, slots=True)
class FileInfo:
    """The file of one variant: for the devices that the selector matches, if none before it does."""

    selector: str
    sha256: str
    length: int


@dataclass(frozen=True, slots=True)
class ArtifactInfo:
    """One published artifact. Lengths in bytes; file fields are None for config bundles.

    ``files`` has all variants; the other file fields are of the last one.
    """

    ref: ArtifactRef
    kind: str
    target_path: str
    target_sha256: str
    target_length: int
    file_sha256: str | None
    file_length: int | None
    files: tuple[FileInfo, ...]
    license: str | None
    description: Mapping[str, Any]
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Verification:
    """One thing that was checked, and what came out."""

    name: str
    ok: bool
    message: str


class ArtifactService:
    """The artifacts of one controller."""

    def __init__(self, database: Database, blobs: BlobStore, repository: Repository, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._repository = repository
        self._clock = clock
        self._changing = asyncio.Lock()

    async def publish(
        self, role: TargetsRole, role_metadata: bytes, targets: Mapping[str, bytes], *, actor: str
    ) -> Publication:
        """Publish what an operator's keyring signed. The same again is no error.

        Args:
            role: Whose metadata.
            role_metadata: The role's next version.
            targets: The new targets' bytes by path.
            actor: Who asks, for the audit log.

        Raises:
            StalePublicationError: Somebody else published first: fetch, sign and send again.
            PeerError: Signature or content is wrong, or a blob is not there; nothing was published.
        """
        deltas = {path: content for path, content in targets.items() if parse_delta_path(path)}
        described = [
            describe_target(path, content)
            for path, content in targets.items()
            if path != TRUST_TARGET and path not in deltas
        ]
        async with self._changing:  # nobody removes a blob between the check and the publication
            for row in described:
                await self._check_name(row)
                await self._check_blob(row)
                await check_adapter(row, self._database, self._blobs)
            for path, content in deltas.items():
                await check_delta(path, content, self._database, self._blobs)
            now = self._clock()
            publication = await asyncio.to_thread(
                self._repository.publish, role, role_metadata, targets, now=now
            )
            if role in _ARTIFACT_ROLES:
                await self._record(tuple(targets), actor=actor, now=now)
        if publication.added:
            detail = {"version": publication.version, "added": list(publication.added)}
            async with self._database.transaction() as session:
                note(session, at=now, actor=actor, action="published", subject=role, **detail)
        return publication

    async def reconcile(self) -> int:
        """Record artifacts that were published just before a crash; returns how many."""
        published: list[str] = []
        for role in _ARTIFACT_ROLES:
            published += await asyncio.to_thread(self._repository.targets, role)
        async with self._database.session() as session:
            known = set(await session.scalars(select(ArtifactRow.target_path)))
            known |= set(await session.scalars(select(DeltaRow.target_path)))
        missing = [path for path in published if path not in known]
        await self._record(missing, actor="system", now=self._clock())
        return len(missing)

    async def list_all(self) -> list[ArtifactInfo]:
        """All artifacts by name, the newest version of each first."""
        query = (
            select(ArtifactRow)
            .where(ArtifactRow.withdrawn_at.is_(None))
            .order_by(ArtifactRow.name, ArtifactRow.published_at.desc())
        )
        async with self._database.session() as session:
            return [_info(row) for row in await session.scalars(query)]

    async def find(self, ref: ArtifactRef) -> ArtifactInfo:
        """The artifact ``NAME@VERSION``.

        Raises:
            NotFoundError: There is none; names the versions that there are.
        """
        return _info(await self._row(ref))

    async def content(self, ref: ArtifactRef) -> bytes:
        """The artifact's target, byte for byte.

        Raises:
            NotFoundError: There is no such artifact.
        """
        return (await self._row(ref)).content

    async def verify(self, ref: ArtifactRef) -> list[Verification]:
        """Check what is stored: the signed target, and the whole file against its hash.

        Raises:
            NotFoundError: There is no such artifact.
        """
        row = await self._row(ref)
        results = [await self._verify_target(row)]
        for file in row.files:
            which = f"file for {file.selector}" if file.selector else "file"
            results.append(await self._verify_file(which, file.sha256, file.length))
        for delta in await self.deltas(ref):
            whose = f"delta from {', '.join(delta.bases) or delta.base_sha256 or 'nothing'}"
            results.append(await self._verify_file(whose, delta.pack_sha256, delta.pack_length))
        return results

    async def deltas(self, ref: ArtifactRef) -> Sequence[DeltaInfo]:
        """What makes the artifact's files cheaper to fetch.

        Raises:
            NotFoundError: There is no such artifact.
        """
        row = await self._row(ref)
        files = dict.fromkeys(file.sha256 for file in row.files)
        async with self._database.session() as session:
            return [delta for sha256 in files for delta in await find_deltas(session, sha256)]

    async def remove(self, ref: ArtifactRef, *, actor: str) -> None:
        """Withdraw an artifact that nothing uses: its file is deleted, its name and version stay taken.

        Raises:
            NotFoundError: There is no such artifact.
            ConflictError: A channel, device, config assignment or unfinished rollout uses it.
        """
        async with self._changing:
            await self._remove(ref, actor)

    async def _remove(self, ref: ArtifactRef, actor: str) -> None:
        now = self._clock()
        path = (await self._row(ref)).target_path
        async with self._database.transaction() as session:
            row = (await session.scalars(select(ArtifactRow).where(ArtifactRow.target_path == path))).one()
            await check_unused(session, row.target_path, ref)
            row.withdrawn_at = now
            note(session, at=now, actor=actor, action="artifact_removed", subject=str(ref))
            await session.flush()
            gone: list[str] = []
            for sha256 in dict.fromkeys(file.sha256 for file in row.files):
                if await find_with_file(session, sha256) is None:
                    gone += [sha256, *await withdraw_deltas(session, sha256, now)]
        for sha256 in gone:
            await self._blobs.remove(sha256)

    async def _check_name(self, described: ArtifactRow) -> None:
        """Models and bundles live under different roles, which cannot see each other's names."""
        query = select(ArtifactRow.kind).where(
            ArtifactRow.name == described.name,
            ArtifactRow.version == described.version,
            ArtifactRow.target_path != described.target_path,
        )
        async with self._database.session() as session:
            kind = await session.scalar(query)
        if kind is not None:
            raise ConflictError(
                f"{described.name}@{described.version} is a {kind} already: choose another name or version"
            )

    async def _check_blob(self, described: ArtifactRow) -> None:
        for file in described.files:
            size = await self._blobs.size(file.sha256)
            if size is None:
                raise NotFoundError(
                    f"the file {file.sha256} of {described.name}@{described.version} is not here: "
                    "upload it first"
                )
            if size != file.length:
                raise WorldError(f"the stored file {file.sha256} has {size} bytes instead of {file.length}")

    async def _record(self, paths: Sequence[str], *, actor: str, now: datetime) -> None:
        """Store the rows of published targets, from what is published and not from what was sent."""
        contents = {path: await asyncio.to_thread(self._repository.target, path) for path in paths}
        async with self._database.transaction() as session:
            for path, content in contents.items():
                if content is None:
                    continue
                if parse_delta_path(path):
                    await record_delta(session, path, content, now)
                    note(session, at=now, actor=actor, action="delta_published", subject=path)
                    continue
                existing = await session.get(ArtifactRow, path)
                if existing is not None:
                    existing.withdrawn_at = None
                    continue
                row = describe_target(path, content)
                row.published_at = now
                session.add(row)
                subject = f"{row.name}@{row.version}"
                note(session, at=now, actor=actor, action="artifact_published", subject=subject)
                log.info("artifact_published", artifact=subject, target=path)

    async def _row(self, ref: ArtifactRef) -> ArtifactRow:
        query = select(ArtifactRow).where(ArtifactRow.name == ref.name, ArtifactRow.withdrawn_at.is_(None))
        async with self._database.session() as session:
            rows = {row.version: row for row in await session.scalars(query)}
        if ref.version not in rows:
            there = ", ".join(f"{ref.name}@{version}" for version in rows) or "no version of it"
            raise NotFoundError(f"there is no artifact {ref}; there is {there}")
        return rows[ref.version]

    async def _verify_target(self, row: ArtifactRow) -> Verification:
        try:
            published = await asyncio.to_thread(self._repository.target, row.target_path)
        except WorldError as error:
            return Verification("target", ok=False, message=str(error))
        if published != row.content:
            return Verification("target", ok=False, message=f"{row.target_path} is not what was published")
        return Verification("target", ok=True, message=f"{row.target_path} is signed and unchanged")

    async def _verify_file(self, name: str, sha256: str, length: int) -> Verification:
        try:
            whole = await self._blobs.verify(sha256)
        except NotFoundError as error:
            return Verification(name, ok=False, message=str(error))
        message = (
            f"all {length} bytes have the hash {sha256}" if whole else f"the stored file {sha256} is damaged"
        )
        return Verification(name, ok=whole, message=message)


def _info(row: ArtifactRow) -> ArtifactInfo:
    return ArtifactInfo(
        ref=ArtifactRef(row.name, row.version),
        kind=row.kind,
        target_path=row.target_path,
        target_sha256=row.target_sha256,
        target_length=row.target_length,
        file_sha256=row.file_sha256,
        file_length=row.file_length,
        files=tuple(FileInfo(file.selector, file.sha256, file.length) for file in row.files),
        license=row.license,
        description=row.description,
        published_at=row.published_at,
    )

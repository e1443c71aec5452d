"""Artifacts for operators: list, look up, verify, remove. They are added by publishing to the repository."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from skerry_controller.artifacts.service import ArtifactInfo, ArtifactService
from skerry_controller.operator_api.dependencies import Actor, provide
from skerry_protocol.names import ArtifactRef, check_name, check_version

router = APIRouter(prefix="/artifacts", tags=["artifacts"])

Artifacts = Annotated[ArtifactService, Depends(provide(ArtifactService))]


class FileBody(BaseModel):
    """The file for the devices that the selector matches, if none before it does."""

    selector: str
    sha256: str
    length: int


class ArtifactBody(BaseModel):
    """A published artifact. Lengths in bytes; file fields are null for bundles, else of the last of files."""

    name: str
    version: str
    kind: str
    target_path: str
    target_sha256: str
    target_length: int
    file_sha256: str | None
    file_length: int | None
    files: list[FileBody]
    license: str | None
    description: dict[str, Any]
    published_at: datetime


class DeltaBody(BaseModel):
    """What makes a version cheaper to fetch: with the file ``base_sha256``, or (null) for every device."""

    target_path: str
    base_sha256: str | None
    bases: list[str]
    pack_sha256: str
    pack_length: int
    pieces: int
    published_at: datetime


class DetailedArtifactBody(ArtifactBody):
    """With the manifest or config bundle itself; of a model's chunks only the number."""

    target: dict[str, Any]
    chunk_count: int
    deltas: list[DeltaBody]


class VerificationBody(BaseModel):
    """One thing that was checked."""

    name: str
    ok: bool
    message: str


@router.get("", summary="List all artifacts")
async def list_artifacts(artifacts: Artifacts) -> list[ArtifactBody]:
    """By name, the newest version of each first."""
    return [ArtifactBody(**_fields(info)) for info in await artifacts.list_all()]


@router.get("/{name}/{version}", summary="One artifact")
async def show(name: str, version: str, artifacts: Artifacts) -> DetailedArtifactBody:
    """Everything but the chunks."""
    ref = _ref(name, version)
    info = await artifacts.find(ref)
    target = msgspec.json.decode(await artifacts.content(ref), type=dict[str, Any])
    chunk_count = 0
    for variant in target.get("variants", ()):
        for file in variant["files"]:
            chunk_count += len(file.pop("chunks"))
    deltas = [DeltaBody(**asdict(delta)) for delta in await artifacts.deltas(ref)]
    return DetailedArtifactBody(**_fields(info), target=target, chunk_count=chunk_count, deltas=deltas)


@router.get("/{name}/{version}/target", summary="The signed target, byte for byte")
async def target(name: str, version: str, artifacts: Artifacts) -> Response:
    """The manifest or config bundle as devices get it."""
    content = await artifacts.content(_ref(name, version))
    return Response(content, media_type="application/json")


@router.post("/{name}/{version}/verify", summary="Check the stored bytes against what was signed")
async def verify(name: str, version: str, artifacts: Artifacts) -> list[VerificationBody]:
    """Reads the whole file."""
    results = await artifacts.verify(_ref(name, version))
    return [VerificationBody(name=result.name, ok=result.ok, message=result.message) for result in results]


@router.delete("/{name}/{version}", status_code=204, summary="Remove an artifact that nothing uses")
async def remove(name: str, version: str, artifacts: Artifacts, actor: Actor) -> None:
    """The file is deleted; name and version stay taken."""
    await artifacts.remove(_ref(name, version), actor=actor)


def _ref(name: str, version: str) -> ArtifactRef:
    return ArtifactRef(check_name(name), check_version(version))


def _fields(info: ArtifactInfo) -> dict[str, Any]:
    return {
        "name": info.ref.name,
        "version": info.ref.version,
        "kind": info.kind,
        "target_path": info.target_path,
        "target_sha256": info.target_sha256,
        "target_length": info.target_length,
        "file_sha256": info.file_sha256,
        "file_length": info.file_length,
        "files": [FileBody(**asdict(file)) for file in info.files],
        "license": info.license,
        "description": dict(info.description),
        "published_at": info.published_at,
    }

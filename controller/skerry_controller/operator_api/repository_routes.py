"""The TUF repository for operators: read metadata, publish what a keyring signed elsewhere."""

import asyncio
import base64
import binascii
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict

from skerry_controller.artifacts import ArtifactService
from skerry_controller.errors import NotFoundError, PeerError
from skerry_controller.operator_api.dependencies import Actor, provide
from skerry_controller.repository import Repository, TargetsRole

router = APIRouter(prefix="/repository", tags=["repository"])

Artifacts = Annotated[ArtifactService, Depends(provide(ArtifactService))]
Repositories = Annotated[Repository, Depends(provide(Repository))]


class PublishBody(BaseModel):
    """A role's next version, and the files of its new targets by path; both base64."""

    model_config = ConfigDict(extra="forbid")

    role: TargetsRole
    metadata: str
    targets: dict[str, str] = {}


class PublicationBody(BaseModel):
    """What is published now; ``added`` is empty when it was published before."""

    role: TargetsRole
    version: int
    snapshot_version: int
    added: list[str]


class RepositoryBody(BaseModel):
    """Current version and expiry of each role."""

    versions: dict[str, int]
    expires: dict[str, datetime]


@router.get("", summary="Versions and expiries of all roles")
async def show(repository: Repositories) -> RepositoryBody:
    """Metadata that offline keys sign has to be signed again before it expires."""
    versions = await asyncio.to_thread(repository.versions)
    expires = await asyncio.to_thread(repository.expiries)
    return RepositoryBody(versions=dict(versions), expires=dict(expires))


@router.get("/roles/{role}", summary="A role's current metadata, to add to and sign")
async def role_metadata(role: TargetsRole, repository: Repositories) -> Response:
    """The exact bytes."""
    content = await asyncio.to_thread(repository.role_metadata, role)
    return Response(content, media_type="application/json")


@router.get("/metadata/{name}", summary="A metadata file by the name that a TUF client asks for")
async def metadata(name: str, repository: Repositories) -> Response:
    """The exact bytes, such as of ``1.root.json``."""
    content = await asyncio.to_thread(repository.get, name)
    if content is None:
        raise NotFoundError(f"the repository has no file {name!r}")
    return Response(content, media_type="application/json")


@router.post("/publish", summary="Publish signed metadata with the files of its new targets")
async def publish(body: PublishBody, artifacts: Artifacts, actor: Actor) -> PublicationBody:
    """Refused unless clients would accept it; the same again is no error."""
    targets = {path: _bytes(content, path) for path, content in body.targets.items()}
    publication = await artifacts.publish(body.role, _bytes(body.metadata, "metadata"), targets, actor=actor)
    return PublicationBody(
        role=publication.role,
        version=publication.version,
        snapshot_version=publication.snapshot_version,
        added=list(publication.added),
    )


def _bytes(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise PeerError(f"{what} is not base64: {error}") from error

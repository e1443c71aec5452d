"""Model files for operators: content-addressed, so sending one twice costs nothing."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from skerry_controller.blobs.folder import FolderBlobStore
from skerry_controller.blobs.settings import BlobSettings
from skerry_controller.blobs.store import MAX_READ_BYTES, BlobNotFoundError, BlobRefusedError
from skerry_controller.errors import WorldError
from skerry_controller.operator_api.dependencies import provide

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/blobs", tags=["blobs"])

Blobs = Annotated[FolderBlobStore, Depends(provide(FolderBlobStore))]
Limits = Annotated[BlobSettings, Depends(provide(BlobSettings))]
Offset = Annotated[int, Query(ge=0, le=2**62)]
Length = Annotated[int, Query(ge=0, le=MAX_READ_BYTES)]


class BlobBody(BaseModel):
    """A stored blob; lengths in bytes."""

    sha256: str
    length: int


@router.head("/{sha256}", summary="Whether the blob is stored; Content-Length is its size")
async def look(sha256: str, blobs: Blobs) -> Response:
    """Answer 200 or 404, without a body."""
    length = await blobs.size(sha256)
    if length is None:
        raise BlobNotFoundError(f"there is no blob with the SHA-256 {sha256}")
    return Response(headers={"Content-Length": str(length)})


@router.get("/{sha256}", summary="A range of a blob")
async def read(sha256: str, blobs: Blobs, offset: Offset, length: Length) -> Response:
    """At most ``length`` bytes from ``offset``; fewer at the blob's end."""
    content = await blobs.read_range(sha256, offset, length)
    return Response(content, media_type="application/octet-stream")


async def _check_room(request: Request, blobs: FolderBlobStore) -> None:
    try:
        await blobs.check_room(int(request.headers.get("content-length", 0)))
    except WorldError:
        # An answer before the end of the request is lost on a sender that does not listen yet.
        async for _ in request.stream():
            pass
        raise


@router.put("/{sha256}", summary="Store the request's body as this blob")
async def upload(sha256: str, request: Request, blobs: Blobs, limits: Limits) -> BlobBody:
    """Hash the body while it streams in; other bytes than promised are refused and not kept."""
    return BlobBody(sha256=sha256, length=await receive_blob(sha256, request, blobs, limits))


async def receive_blob(sha256: str, request: Request, blobs: FolderBlobStore, limits: BlobSettings) -> int:
    """Store a request's body, unless it is stored already; returns its length in bytes.

    Raises:
        BlobRefusedError: It is something else than promised, too large, or broke off; nothing is kept.
        WorldError: There is no room.
    """
    stored = await blobs.size(sha256)
    if stored is not None:
        return stored
    try:
        await _check_room(request, blobs)
        length = await blobs.write(sha256, request.stream(), max_bytes=limits.max_blob_bytes)
    except ClientDisconnect as error:
        raise BlobRefusedError(f"the upload of {sha256} broke off: nothing was kept") from error
    log.info("blob_stored", sha256=sha256, length=length)
    return length

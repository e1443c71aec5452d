"""Bundles for operators: what goes onto a stick, and what came back on one."""

import base64
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from skerry_controller.bundles.carried import CarriedBack, TakenRecords
from skerry_controller.bundles.packing import reads
from skerry_controller.bundles.service import BundleRequest, Bundles
from skerry_controller.operator_api.dependencies import Actor, provide
from skerry_protocol.names import check_device

router = APIRouter(tags=["bundles"])

TheBundles = Annotated[Bundles, Depends(provide(Bundles))]
Back = Annotated[CarriedBack, Depends(provide(CarriedBack))]

MAX_REFS = 64
_DAY_S = 86400


class NewBundle(BaseModel):
    """What a bundle shall carry, and for whom."""

    model_config = ConfigDict(extra="forbid")

    artifacts: list[str] = Field(min_length=1, max_length=MAX_REFS)
    base: list[str] = Field(default=[], max_length=MAX_REFS)
    devices: list[str] = []
    selector: str | None = None
    valid_s: int = Field(default=30 * _DAY_S, ge=1)


class ReadBody(BaseModel):
    """Bytes of a blob that stand next in a pack: whole chunks, each with its length and hash.

    The blob is a model file, or the pack of a delta, which is one chunk.
    """

    file_sha256: str
    offset: int
    chunks: list[tuple[int, str]]


class BundleBody(BaseModel):
    """A bundle without the bytes of its chunks.

    ``files`` are base64 by name; ``packs`` say for each pack what to read from blobs, in order; ``deltas``
    are the target paths of the deltas in it.
    """

    artifacts: list[str]
    devices: list[str]
    expires_at: int
    chunk_bytes: int
    files: dict[str, str]
    packs: list[list[ReadBody]]
    deltas: list[str]
    notes: list[str]


class ReportTaken(BaseModel):
    """Whether a report that came on a stick is newer than what was known."""

    is_news: bool


@router.post("/bundles", summary="Issue what a bundle for devices without a network carries")
async def assemble(body: NewBundle, bundles: TheBundles, actor: Actor) -> BundleBody:
    """Signs a timestamp, a snapshot and desired states that count for ``valid_s`` seconds."""
    request = BundleRequest(
        tuple(body.artifacts), tuple(body.base), tuple(body.devices), body.selector, body.valid_s
    )
    bundle = await bundles.assemble(request, actor=actor)
    return BundleBody(
        artifacts=list(bundle.head.artifacts),
        devices=list(bundle.head.devices),
        expires_at=bundle.head.expires_at,
        chunk_bytes=bundle.head.chunk_bytes,
        files={name: base64.b64encode(content).decode() for name, content in bundle.files.items()},
        packs=[
            [
                ReadBody(
                    file_sha256=read[0].file_sha256,
                    offset=read[0].chunk.offset,
                    chunks=[(found.chunk.length, found.chunk.sha256) for found in read],
                )
                for read in reads(pack)
            ]
            for pack in bundle.packing.packs
        ],
        deltas=list(bundle.deltas),
        notes=list(bundle.notes),
    )


@router.post("/devices/{device}/carried/report", summary="Take in a report that came on a stick")
async def take_report(device: str, request: Request, back: Back) -> ReportTaken:
    """The body is the envelope that the device signed."""
    return ReportTaken(is_news=await back.report(check_device(device), await request.body()))


@router.post("/devices/{device}/carried/records", summary="Take in a batch of records that came on a stick")
async def take_records(device: str, request: Request, back: Back) -> TakenRecords:
    """The body is the envelope that the device signed; each record is stored once."""
    return await back.records(check_device(device), await request.body())


@router.get("/devices/{device}/carried/acknowledgements", summary="Acknowledgements for the way back")
async def acknowledgements(
    device: str, back: Back, valid_s: Annotated[int, Query(ge=1, le=366 * _DAY_S)] = 30 * _DAY_S
) -> Response:
    """A file of frames; empty when nothing of the device is stored."""
    content = await back.acknowledgements(check_device(device), valid_s=valid_s)
    return Response(content, media_type="application/octet-stream")

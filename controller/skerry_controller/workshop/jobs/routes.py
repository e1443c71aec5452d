"""The controller's library for operators: what is in it, and the jobs that change it."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from skerry_controller.audit import note
from skerry_controller.blobs.routes import receive_blob
from skerry_controller.blobs.settings import BlobSettings
from skerry_controller.clock import utc_now
from skerry_controller.database import Database
from skerry_controller.operator_api.dependencies import Actor, provide
from skerry_controller.workshop.jobs.job import Job, State
from skerry_controller.workshop.jobs.keeper import LibraryKeeper
from skerry_controller.workshop.jobs.requests import JobRequest
from skerry_controller.workshop.jobs.service import JobService
from skerry_controller.workshop.library import EntryFilter
from skerry_controller.workshop.library.labels import model_selector
from skerry_controller.workshop.library.views import entry_view, figures_view
from skerry_protocol.names import ArtifactRef

router = APIRouter(prefix="/library", tags=["library"])

Keeper = Annotated[LibraryKeeper, Depends(provide(LibraryKeeper))]
Jobs = Annotated[JobService, Depends(provide(JobService))]
TheDatabase = Annotated[Database, Depends(provide(Database))]
Limits = Annotated[BlobSettings, Depends(provide(BlobSettings))]
Text = Annotated[str | None, Query(max_length=200)]


class ProgressBody(BaseModel):
    """What is done at the moment; ``total`` is null when nobody knows it."""

    what: str
    done: float
    total: float | None


class JobErrorBody(BaseModel):
    """Why a job failed."""

    code: str
    message: str


class UploadBody(BaseModel):
    """What an import takes for the file that was sent; the length is in bytes."""

    source: str
    length: int


class JobBody(BaseModel):
    """A job; ``result`` is the model that it made."""

    id: str
    kind: str
    subject: str
    actor: str
    state: State
    asked_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: ProgressBody | None
    notes: list[str]
    result: dict[str, Any] | None
    error: JobErrorBody | None


@router.get("/models", summary="Models of the library")
async def list_models(
    keeper: Keeper,
    params: Text = None,
    size_class: Annotated[str | None, Query(alias="class")] = None,
    family: Text = None,
    license_id: Annotated[str | None, Query(alias="license")] = None,
    quantization: Text = None,
    context: Annotated[int | None, Query(ge=1)] = None,
    selector: Text = None,
) -> list[dict[str, Any]]:
    """The same filters as ``skerry model list`` has."""
    wanted = EntryFilter.parse(
        params=params,
        size_class=size_class,
        family=family,
        license_id=license_id,
        quantization=quantization,
        context=context,
    )
    selects = model_selector(selector or "")

    def read() -> list[dict[str, Any]]:
        with keeper.reader() as library:
            return [entry_view(e) for e in library.entries() if wanted.matches(e) and selects(e)]

    return await asyncio.to_thread(read)


@router.get("/models/{name}/{version}", summary="One model")
async def show_model(name: str, version: str, keeper: Keeper) -> dict[str, Any]:
    """Where it came from, its licence, what is inside, what it was made of."""

    def read() -> dict[str, Any]:
        with keeper.reader() as library:
            return entry_view(library.find(_text(name, version)))

    return await asyncio.to_thread(read)


@router.get("/models/{name}/{version}/figures", summary="What was measured of a model")
async def show_figures(name: str, version: str, keeper: Keeper) -> list[dict[str, Any]]:
    """The newest first."""

    def read() -> list[dict[str, Any]]:
        with keeper.reader() as library:
            return [figures_view(each) for each in library.figures(library.find(_text(name, version)))]

    return await asyncio.to_thread(read)


@router.delete("/models/{name}/{version}", status_code=204, summary="Remove a model from the library")
async def remove_model(name: str, version: str, keeper: Keeper, database: TheDatabase, actor: Actor) -> None:
    """With its figures. What was published of it stays published."""

    def remove() -> str:
        with keeper.writer() as library:
            entry = library.find(_text(name, version))
            library.remove(entry.ref)
            return entry.sha256

    sha256 = await asyncio.to_thread(remove)
    async with database.transaction() as session:
        subject = _text(name, version)
        note(session, at=utc_now(), actor=actor, action="library_removed", subject=subject, sha256=sha256)


@router.put("/uploads/{sha256}", summary="Send a model file for a job that imports it")
async def upload(sha256: str, request: Request, keeper: Keeper, limits: Limits) -> UploadBody:
    """The body is hashed while it streams in. Ask for the import of ``upload:SHA256`` next."""
    length = await receive_blob(sha256, request, keeper.uploads, limits)
    return UploadBody(source=f"upload:{sha256}", length=length)


@router.post("/jobs", status_code=202, summary="Ask for long work on the library")
async def ask_job(body: JobRequest, jobs: Jobs, actor: Actor) -> JobBody:
    """Jobs are done one after the other; look at the job to see how far it is."""
    return _body(await jobs.ask(body, actor=actor))


@router.get("/jobs", summary="Jobs, the newest first")
async def list_jobs(jobs: Jobs) -> list[JobBody]:
    """Those since the controller's start; old ones are forgotten."""
    return [_body(job) for job in jobs.all()]


@router.get("/jobs/{job_id}", summary="One job")
async def show_job(job_id: str, jobs: Jobs) -> JobBody:
    """With its progress."""
    return _body(jobs.find(job_id))


@router.post("/jobs/{job_id}/cancel", summary="Ask a job to stop")
async def cancel_job(job_id: str, jobs: Jobs) -> JobBody:
    """It ends soon after; what an import downloaded is kept for the next time."""
    return _body(jobs.cancel(job_id))


def _text(name: str, version: str) -> str:
    return str(ArtifactRef.parse(f"{name}@{version}"))


def _body(job: Job) -> JobBody:
    progress = None
    if job.progress is not None:
        what, done, total = job.progress
        progress = ProgressBody(what=what, done=done, total=total)
    return JobBody(
        id=job.id,
        kind=job.request.kind,
        subject=job.request.subject,
        actor=job.actor,
        state=job.state,
        asked_at=job.asked_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        progress=progress,
        notes=list(job.notes),
        result=job.result,
        error=None if job.error is None else JobErrorBody(code=job.error[0], message=job.error[1]),
    )

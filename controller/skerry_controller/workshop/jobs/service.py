"""Does jobs one after the other, each in a thread of its own."""

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from skerry_controller.audit import note
from skerry_controller.clock import Clock
from skerry_controller.database import Database
from skerry_controller.errors import ConflictError, ControllerError, NotFoundError, UsageError
from skerry_controller.workshop.jobs import kinds
from skerry_controller.workshop.jobs.job import Job
from skerry_controller.workshop.jobs.keeper import LibraryKeeper
from skerry_controller.workshop.jobs.requests import JobRequest
from skerry_controller.workshop.library import Library
from skerry_controller.workshop.progress import Progress, StoppedError, StopSign
from skerry_protocol.errors import ProtocolError

log = structlog.get_logger(__name__)

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
Runner = Callable[[JobRequest, Library, Progress, StopSign, Callable[[str], None]], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """See each."""

    max_waiting: int = 32
    max_remembered: int = 100
    """Ended jobs that are still shown."""
    stop_timeout_s: float = 10.0
    """So long a stopping controller waits for the job that runs."""


class JobService:
    """Jobs of the workshop: long work on the controller's library.

    Jobs live in memory: a controller that starts again has none. What they made is in the library, and an
    import that is asked for again goes on where it was.

    Args:
        keeper: Lends the library.
        database: For the audit log.
        clock: Time.
        limits: See there.
        runner: Does a job.
    """

    def __init__(
        self,
        keeper: LibraryKeeper,
        database: Database,
        clock: Clock,
        limits: JobLimits | None = None,
        runner: Runner = kinds.run,
    ) -> None:
        self._keeper = keeper
        self._database = database
        self._clock = clock
        self._limits = limits or JobLimits()
        self._runner = runner
        self._jobs: dict[str, Job] = {}
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._running = False

    async def run(self) -> None:
        """Do jobs until cancelled; the one that runs then is stopped."""
        self._running = True
        try:
            while True:
                job = await self._queue.get()
                if not job.ended:
                    await self._do(job)
        finally:
            self._running = False

    async def ask(self, request: JobRequest, *, actor: str) -> Job:
        """Put a job behind those that wait.

        Raises:
            UsageError: It asks for what cannot be, or nothing here does jobs.
            ConflictError: Too many wait.
        """
        await asyncio.to_thread(kinds.check, request)
        if not self._running:
            raise UsageError(
                "no controller runs here: give the library's folder to 'skerry model' with --data"
            )
        if self._queue.qsize() >= self._limits.max_waiting:
            raise ConflictError(f"{self._limits.max_waiting} jobs wait already: cancel some, or wait")
        job = Job(_new_id(), request, actor, self._clock())
        async with self._database.transaction() as session:
            note(
                session,
                at=job.asked_at,
                actor=actor,
                action="library_job_started",
                subject=request.subject,
                job=job.id,
                kind=request.kind,
            )
        self._jobs[job.id] = job
        self._forget_old()
        self._queue.put_nowait(job)
        return job

    def all(self) -> list[Job]:
        """Those that are known, the newest first."""
        return sorted(self._jobs.values(), key=lambda job: job.asked_at, reverse=True)

    def find(self, job_id: str) -> Job:
        """One of them.

        Raises:
            NotFoundError: There is none, or it is long ended.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise NotFoundError(
                f"there is no job {job_id}: jobs end with the controller, and old ones are forgotten"
            )
        return job

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop; one that has ended stays as it is.

        Raises:
            NotFoundError: There is no such job.
        """
        job = self.find(job_id)
        job.stop.stop()
        if job.state == "waiting":
            self._end(job, "cancelled", error=("stopped", "cancelled before it began"))
        return job

    async def _do(self, job: Job) -> None:
        job.state, job.started_at = "running", self._clock()
        log.info("library_job_started", job=job.id, kind=job.request.kind)
        outcome: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        thread = threading.Thread(
            target=self._in_thread, args=(job, outcome), name=f"job {job.id}", daemon=True
        )
        thread.start()
        try:
            result = await asyncio.shield(outcome)
        except asyncio.CancelledError:
            job.stop.stop()
            await asyncio.wait([outcome], timeout=self._limits.stop_timeout_s)
            if outcome.done() and not outcome.cancelled():
                outcome.exception()  # so that nobody misses it
            raise
        except StoppedError as error:
            self._end(job, "cancelled", error=(error.code, str(error)))
        except (ControllerError, ProtocolError) as error:
            self._end(job, "failed", error=(getattr(error, "code", "refused"), str(error)))
        except Exception:
            log.exception("library_job_failed", job=job.id)
            self._end(job, "failed", error=("internal", "the job failed unexpectedly: look into the log"))
        else:
            await self._record_added(job, result)
            job.result = result
            self._end(job, "done")

    def _in_thread(self, job: Job, outcome: "asyncio.Future[dict[str, Any]]") -> None:
        loop = outcome.get_loop()

        def progress(what: str, done: float, total: float | None = None) -> None:
            job.progress = (what, done, total)

        try:
            with self._keeper.writer() as library:
                result = self._runner(job.request, library, progress, job.stop, job.notes.append)
        except BaseException as error:  # noqa: BLE001 - it goes to who waits
            _tell(loop, outcome, None, error)
        else:
            _tell(loop, outcome, result, None)

    def _end(self, job: Job, state: Any, *, error: tuple[str, str] | None = None) -> None:
        job.state, job.error, job.finished_at = state, error, self._clock()
        log.info("library_job_ended", job=job.id, state=state)

    async def _record_added(self, job: Job, result: dict[str, Any]) -> None:
        async with self._database.transaction() as session:
            note(
                session,
                at=self._clock(),
                actor=job.actor,
                action="library_added",
                subject=result["ref"],
                job=job.id,
                kind=job.request.kind,
                sha256=result["sha256"],
            )

    def _forget_old(self) -> None:
        ended = [job for job in self.all() if job.ended]
        for job in ended[self._limits.max_remembered :]:
            del self._jobs[job.id]


def _tell(
    loop: asyncio.AbstractEventLoop,
    outcome: "asyncio.Future[dict[str, Any]]",
    result: dict[str, Any] | None,
    error: BaseException | None,
) -> None:
    """From a thread, to a loop that may be gone."""

    def set_outcome() -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        elif result is not None:
            outcome.set_result(result)

    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(set_outcome)


def _new_id() -> str:
    return "j-" + "".join(secrets.choice(_ALPHABET) for _ in range(8))

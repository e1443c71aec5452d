"""The controller's library through its API, and jobs one after the other."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry_controller.errors import ConflictError, PeerError, UsageError
from skerry_controller.serve.core import Core
from skerry_controller.setup import NewController
from skerry_controller.workshop.jobs import JobLimits, JobService
from skerry_controller.workshop.jobs.requests import ImportRequest
from skerry_controller.workshop.jobs.service import Runner
from skerry_controller.workshop.library import Library
from support.controller_data import opened_core, operator_http
from support.library import add_tiny
from support.tiny_gguf import write_tiny_gguf
from support.web_files import FileServer, serving

API = "/api/v1/library"
PATH = "/models/tiny-F16.gguf"


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[NewController, Core]]:
    async with opened_core(tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(opened: tuple[NewController, Core]) -> AsyncIterator[httpx.AsyncClient]:
    made, core = opened
    async with operator_http(core, made.admin_token) as client:
        yield client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    with serving(FileServer()) as server:
        server.files[PATH] = write_tiny_gguf(tmp_path / "tiny.gguf").read_bytes()
        server.headers[PATH] = {"ETag": '"one"'}
        yield server


@asynccontextmanager
async def working(jobs: JobService) -> AsyncIterator[None]:
    """Jobs are done while the block runs."""
    task = asyncio.create_task(jobs.run(), name="library-jobs")
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def ended(client: httpx.AsyncClient, job: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            body: dict[str, Any] = (await client.get(f"{API}/jobs/{job}")).json()
            if body["state"] not in ("waiting", "running"):
                return body
            await asyncio.sleep(0.05)


async def actions(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    entries = (await client.get("/api/v1/audit")).json()
    return [(e["action"], e["subject"]) for e in entries if e["action"].startswith("library_")]


async def test_a_model_is_imported_by_a_job_shown_and_removed(
    opened: tuple[NewController, Core], client: httpx.AsyncClient, server: FileServer
) -> None:
    source = server.url + PATH
    async with working(opened[1].jobs):
        asked = await client.post(f"{API}/jobs", json={"kind": "import", "source": source, "ref": "tiny@1"})
        assert asked.status_code == 202
        job = await ended(client, asked.json()["id"])
    assert (job["state"], job["error"], job["result"]["ref"]) == ("done", None, "tiny@1")
    assert job["notes"] == ["licence: none is stated at the source; the file may state one"]
    (listed,) = (await client.get(f"{API}/models", params={"class": "below", "license": "apache-2.0"})).json()
    shown = (await client.get(f"{API}/models/tiny/1")).json()
    assert listed == shown == job["result"]
    assert (await client.get(f"{API}/models", params={"params": "1B-"})).json() == []
    assert (await client.get(f"{API}/models/tiny/1/figures")).json() == []
    assert (await client.delete(f"{API}/models/tiny/1")).status_code == 204
    assert (await client.get(f"{API}/models/tiny/1")).status_code == 404
    assert await actions(client) == [
        ("library_removed", "tiny@1"),
        ("library_added", "tiny@1"),
        ("library_job_started", source),
    ]


async def test_a_model_is_quantized_by_a_job(
    opened: tuple[NewController, Core], client: httpx.AsyncClient
) -> None:
    with opened[1].library.writer() as library:
        add_tiny(library, "tiny@1")
    async with working(opened[1].jobs):
        wish = {"kind": "quantize", "model": "tiny", "type": "Q8_0", "ref": "tiny@q8"}
        job = await ended(client, (await client.post(f"{API}/jobs", json=wish)).json()["id"])
    assert job["state"] == "done", job["error"]
    assert job["result"]["lineage"]["parent"] == "tiny@1"


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"kind": "import", "source": "/etc/passwd"}, 400, "takes a file that was sent"),
    ({"kind": "import", "source": "hf:x"}, 400, "names no repository"),
    ({"kind": "import", "source": "hf:a/b", "ref": "No"}, 400, "has no version"),
    ({"kind": "import", "source": "hf:a/b", "sha256": "12"}, 400, "not a SHA-256"),
    ({"kind": "import", "source": "upload:../x"}, 400, "not a SHA-256"),
    ({"kind": "import", "source": "hf:a/b", "extra": 1}, 422, "Extra inputs"),
    ({"kind": "dance"}, 422, "does not match any of the expected tags"),
    ({"kind": "import", "source": "hf:a/b"}, 400, "no controller runs here"),
]


async def test_what_no_job_can_do_is_refused_at_once(client: httpx.AsyncClient) -> None:
    for body, status, words in REFUSED:
        answer = await client.post(f"{API}/jobs", json=body)
        assert answer.status_code == status
        assert words in answer.json()["message"]
    assert await actions(client) == []


async def test_a_job_that_fails_says_why(
    opened: tuple[NewController, Core], client: httpx.AsyncClient, server: FileServer
) -> None:
    async with working(opened[1].jobs):
        body = {"kind": "import", "source": f"{server.url}/nothing.gguf"}
        job = await ended(client, (await client.post(f"{API}/jobs", json=body)).json()["id"])
    assert (job["state"], job["error"]["code"]) == ("failed", "refused")
    assert "404 Not Found" in job["error"]["message"]


async def test_what_was_sent_is_hashed_imported_and_not_kept_apart(
    opened: tuple[NewController, Core], client: httpx.AsyncClient, tmp_path: Path
) -> None:
    content = write_tiny_gguf(tmp_path / "tiny.gguf").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    wrong = await client.put(f"{API}/uploads/{'0' * 64}", content=content)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "refused")
    sent = await client.put(f"{API}/uploads/{sha256}", content=content)
    assert sent.json() == {"source": f"upload:{sha256}", "length": len(content)}
    body = {"kind": "import", "source": f"upload:{sha256}", "address": "/home/me/tiny-F16.gguf"}
    async with working(opened[1].jobs):
        job = await ended(client, (await client.post(f"{API}/jobs", json=body)).json()["id"])
        assert (job["state"], job["subject"]) == ("done", "/home/me/tiny-F16.gguf")
        assert job["result"]["ref"] == "tiny-f16@1"
        again = await ended(client, (await client.post(f"{API}/jobs", json=body)).json()["id"])
    assert "there is no file" in again["error"]["message"]
    assert not list((opened[1].data.library / "uploads").rglob(sha256))


def request_for(name: str) -> ImportRequest:
    return ImportRequest(kind="import", source=f"hf:a/{name}")


@asynccontextmanager
async def served(core: Core, runner: Runner, limits: JobLimits | None = None) -> AsyncIterator[JobService]:
    jobs = JobService(core.library, core.database, core.clock, limits, runner)
    async with working(jobs):
        yield jobs


class Held:
    """A runner whose jobs wait until they may go on, or are stopped."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.at_once = 0
        self.most_at_once = 0

    def __call__(self, request: Any, library: Library, progress: Any, stop: Any, note: Any) -> dict[str, Any]:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        progress("holding", 1, 2)
        self.begun.release()
        try:
            while not self.go_on.acquire(timeout=0.01):
                stop.check()
        finally:
            self.at_once -= 1
        return {"ref": request.source, "sha256": "0" * 64}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread changes it
            await asyncio.sleep(0.01)


async def test_jobs_are_done_one_after_the_other(opened: tuple[NewController, Core]) -> None:
    held = Held()
    async with served(opened[1], held) as jobs:
        first, second = [await jobs.ask(request_for(name), actor="admin:x") for name in ("one", "two")]
        await asyncio.to_thread(held.begun.acquire)
        assert [job.state for job in (first, second)] == ["running", "waiting"]
        assert list(first.progress or ()) == ["holding", 1, 2]
        held.go_on.release(2)
        await until(lambda: second.state == "done")
        assert [job.id for job in jobs.all()] == [second.id, first.id]
    assert held.most_at_once == 1


async def test_jobs_can_be_cancelled_before_and_while_they_run(opened: tuple[NewController, Core]) -> None:
    held = Held()
    async with served(opened[1], held) as jobs:
        first, second = [await jobs.ask(request_for(name), actor="admin:x") for name in ("one", "two")]
        await asyncio.to_thread(held.begun.acquire)
        assert jobs.cancel(second.id).state == "cancelled"
        jobs.cancel(first.id)
        await until(lambda: first.ended)
    assert (first.state, second.state) == ("cancelled", "cancelled")
    assert held.go_on.acquire(blocking=False) is False


async def test_a_stopping_controller_stops_the_job_that_runs(opened: tuple[NewController, Core]) -> None:
    held = Held()
    async with served(opened[1], held) as jobs:
        job = await jobs.ask(request_for("one"), actor="admin:x")
        await asyncio.to_thread(held.begun.acquire)
    assert job.stop.asked
    assert held.at_once == 0
    with pytest.raises(UsageError, match="no controller runs here"):
        await jobs.ask(request_for("two"), actor="admin:x")


async def test_the_queue_and_the_memory_are_bounded(opened: tuple[NewController, Core]) -> None:
    held = Held()
    limits = JobLimits(max_waiting=1, max_remembered=1)
    async with served(opened[1], held, limits) as jobs:
        first = await jobs.ask(request_for("one"), actor="admin:x")
        await asyncio.to_thread(held.begun.acquire)
        second = await jobs.ask(request_for("two"), actor="admin:x")
        with pytest.raises(ConflictError, match="wait already"):
            await jobs.ask(request_for("three"), actor="admin:x")
        held.go_on.release(3)
        await until(lambda: second.ended)
        third = await jobs.ask(request_for("four"), actor="admin:x")
        await until(lambda: third.ended)
    assert [job.id for job in jobs.all()] == [third.id, second.id]
    assert first.state == "done"


async def test_an_unexpected_failure_ends_the_job_and_not_the_service(
    opened: tuple[NewController, Core],
) -> None:
    def broken(request: Any, *_: Any) -> dict[str, Any]:
        if request.source == "hf:a/one":
            raise ZeroDivisionError
        raise PeerError("it is no model")

    async with served(opened[1], broken) as jobs:
        first, second = [await jobs.ask(request_for(name), actor="admin:x") for name in ("one", "two")]
        await until(lambda: second.ended)
    assert first.error == ("internal", "the job failed unexpectedly: look into the log")
    assert second.error == ("refused", "it is no model")

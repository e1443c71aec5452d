"""``skerry model … --controller URL``: the same work as a job of a controller, watched from here."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from skerry_controller.cli.client import ApiError, ControllerClient, work
from skerry_controller.cli.model_frame import Work
from skerry_controller.cli.output import print_note
from skerry_controller.errors import NotFoundError, UsageError
from skerry_controller.workshop.importing.local import local_files
from skerry_controller.workshop.importing.sources import LocalSource, parse_source
from skerry_controller.workshop.library.inspection import inspect_model
from skerry_controller.workshop.library.intake import hash_in_place
from skerry_controller.workshop.progress import StoppedError
from skerry_protocol.names import ArtifactRef

_LOOK_EVERY_S: Final = 0.3
_LISTED: Final = 8


def do_job(url: str, body: Mapping[str, Any], watched: Work) -> dict[str, Any]:
    """Ask for a job, show its progress, and return its result; Ctrl-C cancels it.

    Raises:
        ControllerError: It failed; in the controller's words.
        StoppedError: It was cancelled.
    """

    async def follow(client: ControllerClient) -> dict[str, Any]:
        given = {name: value for name, value in body.items() if value is not None}
        job = await client.post("/library/jobs", given)
        path, told, looks, cancelled = f"/library/jobs/{job['id']}", 0, 0, False
        while job["state"] in ("waiting", "running"):
            for line in job["notes"][told:]:
                print_note(line)
            told = len(job["notes"])
            if looks:  # most jobs begin at once
                _show(job, watched)
            looks += 1
            if watched.stop.asked and not cancelled:
                cancelled = True
                await client.post(f"{path}/cancel")
            await asyncio.sleep(_LOOK_EVERY_S)
            job = await client.get(path)
        for line in job["notes"][told:]:
            print_note(line)
        return _result(job)

    return work(None, follow, url=url)


def import_there(url: str, body: Mapping[str, Any], watched: Work) -> dict[str, Any]:
    """Import at a controller; a file of this machine is sent there first.

    Raises:
        ControllerError: It failed, here or there.
        StoppedError: It was cancelled.
    """
    source = parse_source(body["source"])
    if not isinstance(source, LocalSource):
        return do_job(url, body, watched)
    files = local_files(source.path)
    if source.path.is_dir() or len(files) > 1:
        raise UsageError(
            f"{source.path} is more than one file: import it here, and send the file that 'skerry model "
            "show' names"
        )
    inspect_model(files[0])  # before anything is sent
    sha256 = hash_in_place(files[0], watched.progress, watched.stop)
    total = files[0].stat().st_size

    def sent(count: int) -> None:
        watched.stop.check()
        watched.progress(f"sending {files[0].name}", count, total)

    work(None, lambda client: client.upload_blob(sha256, files[0], sent, place="/library/uploads"), url=url)
    return do_job(url, {**body, "source": f"upload:{sha256}", "address": source.address}, watched)


async def model_path(client: ControllerClient, model: str) -> str:
    """The path of ``NAME@VERSION`` in the API, or of the newest model of ``NAME``.

    Raises:
        NotFoundError: There is none.
    """
    if "@" in model:
        ref = ArtifactRef.parse(model)
        return f"/library/models/{ref.name}/{ref.version}"
    models = await client.get("/library/models")
    found = [each for each in models if each["name"] == model]
    if not found:
        names = ", ".join(each["ref"] for each in models[:_LISTED]) or "nothing"
        raise NotFoundError(f"the controller's library has no {model}: it has {names}")
    newest = max(found, key=lambda each: each["added_at"])
    return f"/library/models/{newest['name']}/{newest['version']}"


def _show(job: Mapping[str, Any], watched: Work) -> None:
    if job["state"] == "waiting":
        watched.progress("waiting for other jobs", 0, None)
    elif job["progress"] is not None:
        told = job["progress"]
        watched.progress(told["what"], told["done"], told["total"])


def _result(job: Mapping[str, Any]) -> dict[str, Any]:
    if job["state"] == "done":
        result: dict[str, Any] = job["result"]
        return result
    if job["state"] == "cancelled":
        raise StoppedError(job["error"]["message"])
    raise ApiError(0, job["error"]["code"], job["error"]["message"])

"""Model files that are none, or not whole: refused everywhere, and what was there stays."""

import hashlib
import http.client
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from support.fleet import Controller, Device
from support.processes import wait_for
from support.refused import Done, agent, assert_no_traceback, at_once, refused, skerry, succeeded
from support.tiny_gguf import write_tiny_gguf

SPOILED = {
    "truncated": "is truncated: it has",
    "empty": "empty: get the model again",
    "no-model": "not a GGUF file",
    "too-long": "something was appended to it; get it again",
    "cut-in-the-header": "header is truncated or damaged",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    good = write_tiny_gguf(folder / "good.gguf", seed=11)
    whole = good.read_bytes()
    contents = {
        "truncated": whole[:-1000],
        "empty": b"",
        "no-model": b"# A text about models\n" * 100,
        "too-long": whole + bytes(64),
        "cut-in-the-header": whole[:100],
    }
    for name, content in contents.items():
        (folder / f"{name}.gguf").write_bytes(content)
    return {"good": good, **{name: folder / f"{name}.gguf" for name in contents}}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path]) -> Path:
    state = tmp_path_factory.mktemp("at-rest") / "state"
    succeeded(agent(state, "import", files["good"], "--name", "good@1"))
    return state


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path]) -> Iterator[Device]:
    device = Device.in_folder(tmp_path_factory.mktemp("running"), "box")
    device.start()
    try:
        succeeded(agent(device.state, "import", files["good"], "--name", "good@1"))
        yield device
    finally:
        device.service.stop()
        assert_no_traceback(device.service)


def names(state: Path) -> list[str]:
    return [model["ref"] for model in json.loads(succeeded(agent(state, "models", "--json")))["models"]]


def test_an_import_refuses_it_by_its_name(state: Path, files: dict[str, Path]) -> None:
    done = at_once(*(partial(agent, state, "import", files[name], "--name", "spoiled@1") for name in SPOILED))
    assert_refused(done, files)


def test_an_import_into_a_running_agent_refuses_it_by_its_name(
    running: Device, files: dict[str, Path]
) -> None:
    done = at_once(
        *(partial(agent, running.state, "import", files[name], "--name", "spoiled@1") for name in SPOILED)
    )
    assert_refused(done, files)
    assert list((running.state / "incoming").iterdir()) == []


def test_it_cannot_be_published(lasting_house: Controller, files: dict[str, Path]) -> None:
    add = partial(skerry, lasting_house, "artifact", "add", "spoiled@1", "--keys", lasting_house.keys)
    assert_refused(at_once(*(partial(add, files[name]) for name in SPOILED)), files)


def assert_refused(done: list[Done], files: dict[str, Path]) -> None:
    for (name, said), end in zip(SPOILED.items(), done, strict=True):
        refused(end, str(files[name]), said)


def test_nothing_of_it_stays_and_the_good_model_does(
    lasting_house: Controller, state: Path, running: Device
) -> None:
    assert names(state) == ["local/good@1"]
    assert names(running.state) == ["local/good@1"]
    refused(skerry(lasting_house, "artifact", "show", "spoiled@1"), "there is no artifact spoiled@1")


def test_what_is_no_file_is_refused(lasting_house: Controller, state: Path, tmp_path: Path) -> None:
    add = partial(skerry, lasting_house, "artifact", "add", "a@1", "--keys", lasting_house.keys)
    load = partial(agent, state, "import", "--name", "a@1")
    missing = tmp_path / "missing.gguf"
    ends = at_once(
        partial(load, tmp_path), partial(load, missing), partial(add, tmp_path), partial(add, missing)
    )
    for end, path in zip(ends, (tmp_path, missing) * 2, strict=True):
        refused(end, str(path))
    refused(ends[0], "is not a file: give the .gguf file itself")


def test_an_upload_of_other_bytes_than_promised_is_not_kept(
    lasting_house: Controller, files: dict[str, Path]
) -> None:
    promised = hashlib.sha256(b"promised").hexdigest()
    content = files["good"].read_bytes()
    status, answer = _put(lasting_house, promised, content, len(content))
    assert (status, answer["code"]) == (422, "refused")
    assert f"have the SHA-256 {hashlib.sha256(content).hexdigest()}, not {promised}" in answer["message"]
    _assert_not_kept(lasting_house, promised)


def test_an_upload_that_breaks_off_is_not_kept(lasting_house: Controller, files: dict[str, Path]) -> None:
    content = files["good"].read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert _put(lasting_house, digest, content[:-1], len(content)) is not None
    _assert_not_kept(lasting_house, digest)


def _put(house: Controller, digest: str, body: bytes, length: int) -> tuple[int, dict[str, str]]:
    """Send a body that may be shorter than announced, and hang up then."""
    connection = http.client.HTTPConnection("127.0.0.1", house.operator_port, timeout=10)
    try:
        connection.putrequest("PUT", f"/api/v1/blobs/{digest}")
        connection.putheader("Authorization", f"Bearer {house.token}")
        connection.putheader("Content-Length", str(length))
        connection.endheaders(body)
        if len(body) < length:
            return 0, {}
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


def _assert_not_kept(house: Controller, digest: str) -> None:
    blobs = house.data / "blobs"
    wait_for(lambda: not any((blobs / "partial").iterdir()), "a rest of the upload stays", deadline_s=10)
    assert not list(blobs.rglob(digest))

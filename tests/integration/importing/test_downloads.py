"""Fetching over HTTP through everything that goes wrong on the way."""

import base64
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skerry_controller.errors import PeerError, UsageError, WorldError
from skerry_controller.workshop.importing import unfinished
from skerry_controller.workshop.importing.errors import NoSpaceError
from skerry_controller.workshop.library import Library
from skerry_controller.workshop.library.errors import DigestMismatchError
from skerry_controller.workshop.progress import StoppedError, StopSign
from support.importing import QUICK, fetch, partial_files
from support.web_files import FileServer, serving

PATH = "/models/tiny-F16.gguf"


@pytest.fixture
def server(model_bytes: bytes) -> Iterator[FileServer]:
    with serving(FileServer()) as server:
        server.files[PATH] = model_bytes
        server.headers[PATH] = {"ETag": '"one"'}
        yield server


def ranges(server: FileServer) -> list[str | None]:
    return [headers.get("Range") for _, _, headers in server.asked]


def test_a_file_comes_from_a_web_server(server: FileServer, library: Library, model_bytes: bytes) -> None:
    entry = fetch(library, f"{server.url}{PATH}?token=secret", ref=None)
    assert str(entry.ref) == "tiny-f16@1"
    assert entry.origin.kind == "http"
    assert entry.origin.address == f"{server.url}{PATH}"
    assert library.path(entry).read_bytes() == model_bytes
    assert partial_files(library) == []


def test_a_cut_connection_is_taken_up_where_it_broke(server: FileServer, library: Library) -> None:
    server.faults.cut_after = [98_304, 49_152]
    fetch(library, server.url + PATH)
    assert ranges(server) == [None, "bytes=98304-", "bytes=147456-"]
    assert server.body_bytes == len(server.files[PATH])


def test_a_busy_server_is_asked_again(server: FileServer, library: Library) -> None:
    server.faults.statuses = [503, 429]
    fetch(library, server.url + PATH)
    assert len(server.asked) == 3


def stopped_after(library: Library, server: FileServer, count: int) -> None:
    stop = StopSign()

    def progress(what: str, done: float, total: float | None = None) -> None:
        if what.startswith("downloading") and done >= count:
            stop.stop()

    with pytest.raises(StoppedError, match="the same command goes on"):
        fetch(library, server.url + PATH, progress=progress, stop=stop)


def test_a_stopped_import_goes_on_when_it_is_asked_for_again(server: FileServer, library: Library) -> None:
    stopped_after(library, server, 100_000)
    assert [each.address for each in unfinished(library).values()] == [server.url + PATH]
    sent = server.body_bytes
    assert library.entries() == []
    fetch(library, server.url + PATH)
    assert ranges(server)[1] is not None
    assert server.body_bytes < len(server.files[PATH]) + sent
    assert partial_files(library) == []


def test_another_file_at_the_same_address_starts_over(
    server: FileServer, library: Library, model_bytes: bytes
) -> None:
    stopped_after(library, server, 100_000)
    server.files[PATH] = model_bytes[:-32] + bytes(32)
    server.headers[PATH] = {"ETag": '"two"'}
    entry = fetch(library, server.url + PATH)
    assert library.path(entry).read_bytes() == server.files[PATH]


def test_a_part_that_nobody_can_name_is_not_gone_on_with(server: FileServer, library: Library) -> None:
    server.headers[PATH] = {}
    stopped_after(library, server, 100_000)
    fetch(library, server.url + PATH)
    assert ranges(server)[1] is None


def test_a_part_that_a_power_cut_spoilt_is_fetched_again(
    server: FileServer, library: Library, model_bytes: bytes
) -> None:
    digest = base64.b64encode(hashlib.sha256(model_bytes).digest()).decode()
    server.headers[PATH] = {"ETag": '"one"', "Repr-Digest": f"sha-256=:{digest}:"}
    stopped_after(library, server, 100_000)
    (part,) = library.folder.glob("partial/*/*.part")
    part.write_bytes(part.read_bytes()[:-4096] + bytes(4096))
    entry = fetch(library, server.url + PATH)
    assert library.path(entry).read_bytes() == model_bytes


def test_bytes_that_are_not_those_promised_are_refused(
    server: FileServer, library: Library, model_bytes: bytes
) -> None:
    server.faults.damage = True
    with pytest.raises(DigestMismatchError, match="what came was thrown away"):
        fetch(library, server.url + PATH, sha256=hashlib.sha256(model_bytes).hexdigest())
    assert library.entries() == []
    assert partial_files(library) == []


def test_the_disk_is_asked_for_room_before_the_first_byte(
    server: FileServer, library: Library, model_bytes: bytes
) -> None:
    free = shutil.disk_usage(library.folder).free
    with pytest.raises(NoSpaceError, match="make room"):
        fetch(library, server.url + PATH, limits=replace(QUICK, reserve_bytes=free))
    assert server.body_bytes < len(model_bytes)
    assert partial_files(library) == []


def test_what_is_no_model_is_refused_after_the_download(server: FileServer, library: Library) -> None:
    server.files["/page.html"] = b"<html>sign in first</html>"
    with pytest.raises(PeerError, match="not a GGUF file"):
        fetch(library, server.url + "/page.html")


def test_a_missing_file_says_what_to_check(server: FileServer, library: Library) -> None:
    with pytest.raises(PeerError, match=r"404 Not Found to /nothing\.gguf: check the address"):
        fetch(library, server.url + "/nothing.gguf")
    assert partial_files(library) == []


def test_a_server_that_is_not_there_is_said_at_once(library: Library) -> None:
    with serving(FileServer()) as gone:
        url = gone.url
    with pytest.raises(WorldError, match=r"no connection to 127\.0\.0\.1: .*refused"):
        fetch(library, url + PATH)


def test_parts_come_one_after_another_and_are_joined(
    server: FileServer, library: Library, shard_bytes: dict[str, bytes]
) -> None:
    server.files = {f"/m/{name}": content for name, content in shard_bytes.items()}
    entry = fetch(library, f"{server.url}/m/tiny-F16-00002-of-00003.gguf", ref=None)
    assert str(entry.ref) == "tiny-f16@1"
    assert partial_files(library) == []


def test_a_truncated_part_is_refused_with_its_name(
    server: FileServer, library: Library, shard_bytes: dict[str, bytes]
) -> None:
    server.files = {f"/m/{name}": content for name, content in shard_bytes.items()}
    last = "/m/tiny-F16-00003-of-00003.gguf"
    server.files[last] = server.files[last][:-1000]
    with pytest.raises(PeerError, match=r"tiny-F16-00003-of-00003\.gguf: the model file is truncated"):
        fetch(library, f"{server.url}/m/tiny-F16-00001-of-00003.gguf")
    assert library.entries() == []


def test_a_known_digest_is_for_a_single_file(server: FileServer, library: Library) -> None:
    with pytest.raises(UsageError, match="single file"):
        fetch(library, f"{server.url}/m-00001-of-00002.gguf", sha256="0" * 64)


def test_a_local_file_is_checked_against_a_known_digest(library: Library, tmp_path: Path) -> None:
    from support.tiny_gguf import write_tiny_gguf  # noqa: PLC0415 - gguf is heavy

    file = write_tiny_gguf(tmp_path / "tiny.gguf")
    with pytest.raises(DigestMismatchError, match="get it again"):
        fetch(library, str(file), sha256="0" * 64)
    assert fetch(library, str(file), licence="mit").licence.source == "operator"

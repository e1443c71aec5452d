"""A controller's library, worked on with the commands as an operator gives them."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fleet import BIN, Controller
from support.refused import INTERRUPTED, skerry
from support.tiny_gguf import write_tiny_gguf
from support.web_files import FileServer, serving

PATH = "/tiny.gguf"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    with serving(FileServer()) as server:
        server.files[PATH] = write_tiny_gguf(tmp_path / "tiny.gguf").read_bytes()
        server.headers[PATH] = {"ETag": '"one"'}
        yield server


def url(controller: Controller) -> tuple[str, str]:
    return "--controller", f"http://127.0.0.1:{controller.operator_port}"


def test_the_commands_work_on_a_controllers_library(lasting_house: Controller, server: FileServer) -> None:
    there = url(lasting_house)
    source = server.url + PATH
    made = lasting_house.json("model", "import", source, "--as", "lent@1", "--license", "mit", *there)
    assert (made["ref"], made["license"]) == ("lent@1", "mit")
    assert [each["ref"] for each in lasting_house.json("model", "list", "--license", "MIT", *there)] == [
        "lent@1"
    ]
    assert lasting_house.json("model", "show", "lent", *there)["figures"] == []
    smaller = lasting_house.json("model", "quantize", "lent", "Q8_0", "--as", "lent-q8@1", *there)
    assert smaller["lineage"]["parent"] == "lent@1"
    # On the controller's machine, its folder is a library as any other.
    data = ("--data", lasting_house.data)
    assert lasting_house.json("model", "show", "lent-q8@1", *data)["sha256"] == smaller["sha256"]
    for ref in ("lent", "lent-q8"):
        lasting_house.run("model", "remove", ref, *there)
    refused = skerry(lasting_house, "model", "show", "lent", *there)
    assert (refused.returncode, refused.stderr) == (
        1,
        "skerry: the controller's library has no lent: it has nothing\n",
    )
    actions = [each["action"] for each in lasting_house.json("audit", "list")]
    assert actions[:2] == ["library_removed", "library_removed"]


def test_ctrl_c_cancels_the_job(lasting_house: Controller, server: FileServer) -> None:
    server.faults.hold_after = 100_000
    command = [str(BIN / "skerry"), "model", "import", server.url + PATH, *url(lasting_house)]
    with subprocess.Popen(
        command, env=lasting_house.environment(), stderr=subprocess.PIPE, text=True
    ) as asked:
        assert server.faults.held.wait(30)
        asked.send_signal(signal.SIGINT)
        server.faults.released.set()
        _, words = asked.communicate(timeout=30)
    assert asked.returncode == INTERRUPTED
    assert words.splitlines()[-1].startswith("skerry: stopped as asked")
    assert lasting_house.json("model", "list", *url(lasting_house)) == []


def test_a_file_of_ones_own_is_sent_to_the_controller(lasting_house: Controller, tmp_path: Path) -> None:
    there = url(lasting_house)
    file = write_tiny_gguf(tmp_path / "mine-F16.gguf")
    made = lasting_house.json("model", "import", file, *there)
    assert made["ref"] == "mine-f16@1"
    assert made["origin"]["address"] == str(file)
    lasting_house.run("model", "remove", "mine-f16", *there)
    assert not [path for path in (lasting_house.data / "library").glob("uploads/**/*") if path.is_file()]
    (tmp_path / "text.gguf").write_text("no model")
    refused = skerry(lasting_house, "model", "import", tmp_path / "text.gguf", *there)
    assert (refused.returncode, "not a GGUF file" in refused.stderr) == (1, True)

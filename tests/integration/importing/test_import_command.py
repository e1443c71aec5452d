"""``skerry model import`` as a person runs it: real processes, real llama.cpp, kill -9."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry_controller.workshop.library import Library
from support.processes import wait_for
from support.tiny_gguf import MetadataValue, write_tiny_gguf
from support.web_files import FileServer, serving

PATH = "/models/tiny-F16.gguf"


def command(library: Path, *words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("skerry")), "model", *words, "--data", str(library)]


def run(library: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(library, *words), capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def server(model_bytes: bytes) -> Iterator[FileServer]:
    with serving(FileServer()) as server:
        server.files[PATH] = model_bytes
        server.headers[PATH] = {"ETag": '"one"'}
        yield server


def part_bytes(library: Path) -> int:
    return sum(part.stat().st_size for part in library.glob("partial/*/*.part"))


def interrupted(server: FileServer, library: Path, number: signal.Signals) -> int:
    """Import, hit the process when the file is half there, and return how it ended."""
    server.faults.hold_after = 300_000
    words = command(library, "import", server.url + PATH)
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        assert server.faults.held.wait(30)
        wait_for(lambda: part_bytes(library) >= 200_000, "the download does not begin")
        os.kill(process.pid, number)
        if number != signal.SIGKILL:
            server.faults.released.set()
        code = process.wait(30)
    server.faults.released.set()
    server.faults.hold_after = None
    return code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_an_import_that_was_killed_goes_on_with_what_came(
    server: FileServer, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    library = tmp_path / "library"
    assert interrupted(server, library, number) == code
    assert json.loads(run(library, "list", "--json").stdout) == []
    assert server.url + PATH in run(library, "list").stderr
    done = run(library, "import", server.url + PATH, "--json")
    assert done.returncode == 0, done.stderr
    entry = json.loads(done.stdout)
    assert entry["ref"] == "tiny-f16@1"
    assert "notes" not in entry  # llama.cpp is here, and has loaded it
    second = server.asked[-1][2]
    assert int(second["Range"].removeprefix("bytes=").removesuffix("-")) >= 200_000
    with Library.open(library) as opened:
        assert opened.path(opened.find("tiny-f16")).read_bytes() == server.files[PATH]
        assert list((library / "partial").iterdir()) == []


UNHEARD: dict[str, MetadataValue | None] = {
    "general.architecture": "unheard",
    "unheard.block_count": 4,
    "unheard.context_length": 256,
    "unheard.embedding_length": 64,
    "unheard.attention.head_count": 2,
}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (UNHEARD, "unknown model architecture: 'unheard'"),
        (
            {"tokenizer.ggml.pre": "unheard"},
            "error loading model vocabulary: unknown pre-tokenizer type: 'unheard'",
        ),
    ],
)
def test_what_llama_cpp_does_not_know_is_refused_in_its_words(
    tmp_path: Path, overrides: dict[str, MetadataValue | None], words: str
) -> None:
    file = write_tiny_gguf(tmp_path / "strange.gguf", overrides=overrides)
    done = run(tmp_path / "library", "import", str(file))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"skerry: llama.cpp cannot load strange.gguf: {words}"

"""The converter's environment is made by the real venv and pip, from an index of small packages."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skerry_controller.errors import WorldError
from skerry_controller.workshop.converting.environment import Environment, EnvironmentSettings
from skerry_controller.workshop.progress import StoppedError, StopSign, silent
from support.package_index import write_source, write_wheel
from support.processes import wait_for

VERSION = "9.9.9"
CONVERTER = "vendor/llama.cpp/convert_hf_to_gguf.py"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    files = {
        CONVERTER: "print('converting')",
        "vendor/llama.cpp/conversion/__init__.py": "TEXT_MODEL_MAP: dict[str, str] = {}",
        "vendor/llama.cpp/src/llama.cpp": "int main() {}",
    }
    write_source(folder, "llama_cpp_python", VERSION, files)
    write_wheel(folder, "tiny_torch", "1.0", "VALUE = 1", needs="tiny_other")
    write_wheel(folder, "tiny_other", "2.0", "VALUE = 2")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def settings(tmp_path: Path) -> EnvironmentSettings:
    return EnvironmentSettings(
        folder=tmp_path / "cache",
        version=VERSION,
        torch=(("no-such-build==1.0",), ("tiny-torch==1.0",)),
        requirements=(),
        trial="import tiny_torch, tiny_other",
    )


def run_in(environment: Environment, code: str) -> str:
    return subprocess.run(
        [str(environment.python), "-I", "-c", code], capture_output=True, text=True, check=True, timeout=30
    ).stdout.strip()


def test_a_failure_is_no_installation_and_the_next_one_goes_on(tmp_path: Path, index: Path) -> None:
    environment = Environment(settings(tmp_path))
    (index / "tiny_other-2.0-py3-none-any.whl").rename(tmp_path / "kept.whl")
    with pytest.raises(WorldError, match=r"cannot install the converter: ERROR: .*tiny_other"):
        environment.install(silent, StopSign())
    assert not environment.is_ready()
    made_at = environment.python.lstat().st_mtime_ns

    stop = StopSign()
    (tmp_path / "kept.whl").rename(index / "tiny_other-2.0-py3-none-any.whl")
    with pytest.raises(StoppedError):
        environment.install(
            lambda what, done, total=None: stop.stop() if what.startswith("fetching") and done else None, stop
        )
    (whole,) = (environment.folder / "wheels").iterdir()
    fetched_at = whole.stat().st_mtime_ns
    fresh: list[int] = []

    def progress(what: str, done: float, total: float | None = None) -> None:
        if what.startswith("installing"):
            fresh.append(whole.stat().st_mtime_ns)

    environment.install(progress, StopSign())
    assert environment.is_ready()
    assert fresh == [fetched_at]
    assert environment.python.lstat().st_mtime_ns == made_at
    check_content(environment)


def check_content(environment: Environment) -> None:
    """What belongs to it is there, and no more; and nothing is left to do."""
    values = "import tiny_torch, tiny_other; print(tiny_torch.VALUE, tiny_other.VALUE)"
    assert run_in(environment, values) == "1 2"
    assert (environment.source / "convert_hf_to_gguf.py").read_text() == "print('converting')"
    assert not (environment.source / "src").exists()
    assert not (environment.folder / "wheels").exists()
    told: list[str] = []
    environment.install(lambda what, done, total=None: told.append(what), StopSign())
    assert told == []


def test_after_a_kill_it_goes_on_and_nobody_else_is_let_in_meanwhile(tmp_path: Path, index: Path) -> None:
    mark = tmp_path / "fetching"
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from skerry_controller.workshop.progress import StopSign\n"
        "from skerry_controller.workshop.converting.environment import Environment, EnvironmentSettings\n"
        "def progress(what, done, total=None):\n"
        "    if what.startswith('fetching the') and done == 1:\n"
        "        Path(sys.argv[2]).touch(); time.sleep(300)\n"
        "settings = EnvironmentSettings(folder=Path(sys.argv[1]) / 'cache', version='9.9.9',"
        " torch=(('tiny-torch==1.0',),), requirements=(), trial='import tiny_torch, tiny_other')\n"
        "Environment(settings).install(progress, StopSign())\n"
    )
    controller = str(Path(__file__).parents[3] / "controller")
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(mark), controller], env=os.environ
    )
    try:
        wait_for(mark.exists, "the installation does not get there", deadline_s=60)
        environment = Environment(settings(tmp_path))
        with pytest.raises(WorldError, match="another process installs"):
            environment.install(silent, StopSign())
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    assert not environment.is_ready()
    torn = environment.folder / "tmpleft"
    torn.mkdir()
    environment.install(silent, StopSign())
    assert environment.is_ready()
    assert not torn.exists()

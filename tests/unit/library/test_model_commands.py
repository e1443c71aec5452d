import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from skerry_controller.cli.model import app
from skerry_controller.cli.model_frame import library_folder, long_work
from skerry_controller.workshop.library import Library
from support.library import add_tiny


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with Library.open(tmp_path / "library") as library:
        add_tiny(library, "tiny@f16")
        add_tiny(library, "tiny@q8", quantization="Q8_0")
        yield library.folder  # its lock is held: looking needs none


def answer(*words: str) -> Any:
    done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_models_are_listed_and_chosen(folder: Path) -> None:
    everything = answer("list", "--data", str(folder))
    assert [each["ref"] for each in everything] == ["tiny@f16", "tiny@q8"]
    assert everything[0]["size_class"] == "below"
    chosen = answer("list", "--data", str(folder), "--quantization", "q8_0", "--class", "below")
    assert [each["ref"] for each in chosen] == ["tiny@q8"]
    chosen = answer("list", "--data", str(folder), "--selector", "quantization!=Q8_0")
    assert [each["ref"] for each in chosen] == ["tiny@f16"]


def test_a_model_is_shown_with_everything_that_is_known(folder: Path) -> None:
    shown = answer("show", "tiny", "--data", str(folder))
    assert shown["ref"] == "tiny@q8"
    assert Path(shown["path"]).stat().st_size == shown["length"]
    words = CliRunner().invoke(app, ["show", "tiny@f16", "--data", str(folder)]).stdout
    assert "apache-2.0 (stated by the header)" in words


def test_a_model_is_removed(folder: Path, tmp_path: Path) -> None:
    (folder / "copy").mkdir()
    with Library.open(tmp_path / "second") as library:
        add_tiny(library, "tiny@1")
    done = CliRunner().invoke(app, ["remove", "tiny", "--data", str(tmp_path / "second")])
    assert done.stdout == "tiny@1 is removed from the library\n"
    assert answer("list", "--data", str(tmp_path / "second")) == []


def test_the_library_is_found_by_option_environment_and_habit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("SKERRY_LIBRARY", raising=False)
    assert library_folder(None) == tmp_path / "skerry" / "library"
    monkeypatch.setenv("SKERRY_LIBRARY", "/models")
    assert library_folder(None) == Path("/models")
    assert library_folder(tmp_path) == tmp_path
    (tmp_path / "controller.db").touch()
    assert library_folder(tmp_path) == tmp_path / "library"


def test_the_first_ctrl_c_asks_the_work_to_stop(capsys: pytest.CaptureFixture[str]) -> None:
    def work_until_stopped() -> None:
        with long_work() as work:
            work.progress("counting", 1, 3)
            signal.raise_signal(signal.SIGINT)
            work.stop.check()

    with pytest.raises(SystemExit) as ended:
        work_until_stopped()
    assert ended.value.code == 130
    assert capsys.readouterr().err.splitlines()[0] == "counting: 1 of 3"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_ctrl_c_does_not_wait() -> None:
    def interrupted_twice() -> None:
        with long_work():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()

"""The runner of child processes, on real ones."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from skerry_controller.errors import ConflictError, PeerError, WorldError
from skerry_controller.workshop.child import ChildLimits, run_child, run_tool
from skerry_controller.workshop.progress import StoppedError, StopSign
from support.processes import wait_for
from support.workshop_child import Done, Play

MODULE = "support.workshop_child"
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}


def play(act: str, *, path: Path | None = None, padding: str = "", stop: StopSign | None = None) -> Done:
    job = Play(act, str(path or ""), padding)
    return run_child(MODULE, job, Done, stop=stop, environment=ENVIRONMENT)


def gone(pid: int) -> bool:
    """It does not run any more (a zombie whose new parent has not looked yet does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def written_pids(path: Path) -> list[int]:
    def look() -> list[int]:
        return [int(word) for word in path.read_text(encoding="utf-8").split()] if path.exists() else []

    return wait_for(look, "the child does not run", deadline_s=30, poll_s=0.02)


def test_progress_and_results_arrive_in_order_and_the_last_result_is_returned() -> None:
    progress: list[tuple[str, float, float | None]] = []
    results: list[Done] = []
    last = run_child(
        MODULE,
        Play("count"),
        Done,
        progress=lambda what, done, total=None: progress.append((what, done, total)),
        on_result=results.append,
        environment=ENVIRONMENT,
    )
    assert (progress[0], progress[-1]) == (("counting", 1, 3), ("counting", 3, 3))
    assert [result.number for result in results] == [0, 1, 2, 3]
    assert last == results[-1]


def test_a_child_gets_all_of_a_large_job_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKERRY_KEYRING_PASSPHRASE", "secret")
    assert play("count", padding="x" * 1_000_000).words == "1000000 None"


@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        ("conflict", ConflictError, "it is there already"),
        ("bad model", PeerError, "no model"),
        ("no disk", WorldError, "/some/file: No space left on device"),
        ("abort", WorldError, r"by signal SIGABRT \(llama.cpp gave up\); it last wrote: GGML_ASSERT failed"),
        ("traceback", WorldError, "exit code 1; it last wrote: RuntimeError: a bug"),
        ("silent", WorldError, "gave no result"),
        ("babble", WorldError, "no line of its protocol"),
    ],
)
def test_a_child_that_fails_is_told_in_words(act: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        play(act)


@pytest.mark.parametrize("act", ["wait", "wait with a child"])
def test_stopping_ends_the_child_and_what_it_started(tmp_path: Path, act: str) -> None:
    pids, stop = tmp_path / "pids", StopSign()

    def stop_when_it_runs() -> None:
        written_pids(pids)
        stop.stop()

    stopper = threading.Thread(target=stop_when_it_runs)
    stopper.start()
    with pytest.raises(StoppedError):
        play(act, path=pids, stop=stop)
    stopper.join()
    wait_for(lambda: all(map(gone, written_pids(pids))), "one still runs", deadline_s=10, poll_s=0.02)


def test_what_was_stopped_before_is_not_started(tmp_path: Path) -> None:
    stop = StopSign()
    stop.stop()
    with pytest.raises(StoppedError):
        play("wait", path=tmp_path / "pids", stop=stop)
    assert not (tmp_path / "pids").exists()


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "from support.workshop_child import Done, Play\n"
        "from skerry_controller.workshop.child import run_child\n"
        f"run_child({MODULE!r}, Play('wait', {str(pids)!r}), Done)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env=os.environ | ENVIRONMENT)
    try:
        (child,) = written_pids(pids)
        assert not gone(child)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    wait_for(lambda: gone(child), "the child outlived its parent", deadline_s=10, poll_s=0.02)


def run_python(code: str, on_line: Callable[[bytes], None], **limits: float) -> tuple[int, str]:
    return run_tool([sys.executable, "-c", code], on_line, limits=ChildLimits(**limits))  # type: ignore[arg-type]


def test_a_tool_gives_its_lines_its_code_and_the_end_of_its_words() -> None:
    lines: list[bytes] = []
    code = (
        "import sys; print('one'); sys.stdout.write('two'); sys.stderr.write('a' * 9000 + 'end'); sys.exit(7)"
    )
    assert run_python(code, lines.append, tail_bytes=4) == (7, "aend")
    assert lines == [b"one", b"two"]


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(WorldError, match="a line of more than 100000 bytes"):
        run_python("while True: print('x' * 65536, end='')", lambda _: None, max_line_bytes=100_000)


def test_what_an_ended_child_left_behind_is_not_waited_for_and_is_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        f"pathlib.Path({str(pids)!r}).write_text(str(child.pid))"
    )
    began = time.monotonic()
    run_python(code, lambda _: None, stop_timeout_s=0.2)
    assert time.monotonic() - began < 60
    (left,) = written_pids(pids)
    wait_for(lambda: gone(left), "it still runs", deadline_s=10, poll_s=0.02)


def test_a_program_that_does_not_exist_is_named() -> None:
    code, tail = run_tool(["/no/such/program"], lambda _: None)
    assert code != 0
    assert "/no/such/program" in tail or "No such file" in tail

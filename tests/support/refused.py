"""Commands that have to fail well: with one line, no traceback, and an exit code of their own."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.fleet import BIN, Controller
from support.processes import ProcessError, Service, run_command

Done = subprocess.CompletedProcess[str]
INTERRUPTED = 130
TIMEOUT_S = 30.0


def skerry(controller: Controller, *arguments: str | Path, **environment: str) -> Done:
    """Run ``skerry`` to its end, whatever that is."""
    env = {**controller.environment(), **environment}
    return run_command([BIN / "skerry", *arguments], env=env, check=False, timeout_s=TIMEOUT_S)


def agent(state: Path, *arguments: str | Path, stdin: str | None = None, **environment: str) -> Done:
    """Run ``skerry-agent`` on a state folder to its end, whatever that is."""
    env = {"SKERRY_AGENT_REGISTRY__MIN_FREE_BYTES": "0", **environment}
    command = [BIN / "skerry-agent", *arguments, "--state", state]
    return run_command(command, env=env, stdin=stdin, check=False, timeout_s=TIMEOUT_S)


def at_once(*calls: Callable[[], Done]) -> list[Done]:
    """Run commands side by side, and return their ends in order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def refused(done: Done, *said: str, code: int = 1) -> str:
    """Check that a command failed as it should, and return its line.

    Args:
        done: The command.
        said: What its one line has to say.
        code: The exit code.
    """
    printed = f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == code, printed
    assert "Traceback" not in done.stdout + done.stderr, printed
    lines = [line for line in done.stderr.splitlines() if line.startswith(("skerry: ", "skerry-agent: "))]
    assert lines == done.stderr.splitlines()[-1:], printed
    for each in said:
        assert each in lines[0], printed
    return lines[0]


def succeeded(done: Done) -> str:
    """Check that a command succeeded, and return what it printed."""
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def assert_no_traceback(service: Service) -> None:
    """Check that a daemon had no trouble that nobody foresaw."""
    assert [line for line in service.output().splitlines() if "Traceback" in line] == []


def ended_by(
    number: signal.Signals, command: list[str | Path], env: Mapping[str, str], when: Callable[[], bool]
) -> Done:
    """Start a command, send it a signal as soon as a condition holds, and wait for its end.

    Raises:
        ProcessError: The command ended before that.
    """
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + TIMEOUT_S
        while not when():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise ProcessError(f"too late for {number.name}: {process.communicate()}")
            time.sleep(0.002)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.wait(10)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def was_interrupted(done: Done) -> None:
    """Check that Ctrl-C ended a command, and without a traceback."""
    printed = f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == INTERRUPTED, printed
    assert "Traceback" not in done.stdout + done.stderr, printed

"""Child processes of tests and the demo: their output kept, their end certain."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
DEADLINE_S = 60.0


class ProcessError(AssertionError):
    """A command or service did not do what it has to; the message carries its output."""


_given: set[int] = set()


def _can_bind(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on now, and that no outgoing connection takes meanwhile.

    They lie below Linux's range for outgoing connections (32768 and up): a service that is stopped and
    started again finds its port free. Parallel test workers draw from parts of their own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    found: list[int] = []
    while len(found) < count:
        port = 15_000 + 2_000 * worker + secrets.randbelow(2_000)
        if port not in _given and _can_bind(port):
            _given.add(port)
            found.append(port)
    return found


def run_command(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout_s: float = DEADLINE_S,
    check: bool = True,
    show: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        env: Added to this process's environment.
        stdin: What the command reads.
        timeout_s: After that it is killed.
        check: Whether another exit code than 0 is an error.
        show: Whether its output goes to this terminal instead of being kept.

    Raises:
        ProcessError: It failed.
    """
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **(env or {})},
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=not show,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if check and done.returncode != 0:
        printed = f"{done.stdout or ''}\n{done.stderr or ''}"
        raise ProcessError(f"{' '.join(map(str, command))} ended with {done.returncode}\n{printed}")
    return done


def wait_for(
    condition: Callable[[], T | None], what: str, *, deadline_s: float = DEADLINE_S, poll_s: float = 0.1
) -> T:
    """Poll until the condition gives something true, and return it.

    Raises:
        ProcessError: It did not within ``deadline_s``.
    """
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise ProcessError(f"{what}: not within {deadline_s:g} s")
        time.sleep(poll_s)


class Service:
    """A long-running child process; its output goes to a file. Stopped for certain by :meth:`stop`."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self._command = [str(part) for part in command]
        self._log = log
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id."""
        if self._process is None:
            raise ProcessError(f"{self.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], *, deadline_s: float = DEADLINE_S) -> None:
        """Wait until it is ready.

        Raises:
            ProcessError: It ended, or was not ready in time; with the end of its output.
        """

        def look() -> bool:
            if not self.running:
                raise ProcessError(f"{self.name} ended at its start:\n{self.output()[-4000:]}")
            return ready()

        try:
            wait_for(look, f"{self.name} is not ready", deadline_s=deadline_s, poll_s=0.05)
        except ProcessError as error:
            raise ProcessError(f"{error}\n{self.output()[-4000:]}") from error

    def stop(self, *, timeout_s: float = 30.0) -> int | None:
        """Ask it to end, and kill it when it does not. Returns its exit code."""
        if self._process is None:
            return None
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait(10)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None and self.running:
            self._process.kill()
            self._process.wait(10)

    def output(self) -> str:
        """All that it printed."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

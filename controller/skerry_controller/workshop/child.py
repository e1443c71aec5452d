"""Runs a part of the workshop's work in a process of its own, and watches it.

llama.cpp may abort, and its quantizer cannot be asked to stop; a process can be ended. The child gets its
work as one JSON document on its standard input, and answers with lines of JSON (``child_lines``); what else
it writes goes to standard error, of which the end is kept for the message when it fails.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Generic, TypeVar

import msgspec

from skerry_controller import launcher
from skerry_controller.errors import WorldError
from skerry_controller.workshop.child_lines import ERRORS, ErrorLine, Line, ProgressLine, ResultLine
from skerry_controller.workshop.progress import Progress, StopSign, silent

T = TypeVar("T", bound=msgspec.Struct)

PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "LLAMA_CPP_LIB_PATH",
    "XDG_CACHE_HOME",
)
"""What a child gets of the environment: no secrets, and nothing that could change llama.cpp."""

_READ_BYTES = 64 * 1024
_WORDS_CHARS = 300
_MEANINGS = {
    signal.SIGKILL: "killed, most likely since the machine ran out of memory",
    signal.SIGABRT: "llama.cpp gave up",
    signal.SIGSEGV: "llama.cpp read what is not there",
    signal.SIGILL: "this build of llama.cpp is for another processor",
    signal.SIGBUS: "a file under it was cut short, or the disk failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildLimits:
    """What a child may take, and how long it is waited for."""

    stop_timeout_s: float = 5.0
    """From SIGTERM to SIGKILL."""
    max_line_bytes: int = 16 * 1024 * 1024
    tail_bytes: int = 16 * 1024
    """So much of its standard error is kept."""
    poll_s: float = 0.1
    """How often the stop sign is looked at."""


def run_child(
    module: str,
    job: msgspec.Struct,
    result: type[T],
    *,
    progress: Progress = silent,
    stop: StopSign | None = None,
    on_result: Callable[[T], None] | None = None,
    environment: Mapping[str, str] | None = None,
    limits: ChildLimits | None = None,
) -> T:
    """Run ``python -m MODULE``, whose ``main`` calls ``child_side.serve``, and return its last result.

    Args:
        module: The module's full name.
        job: What it has to do.
        result: The type of its results.
        progress: Told what the child tells.
        stop: Ends the child (SIGTERM, then SIGKILL).
        on_result: Told each result as it comes.
        environment: What the child's environment has beside the usual.
        limits: See there.

    Raises:
        StoppedError: It was asked to stop.
        ControllerError: As the child raised it.
        WorldError: The child crashed, was killed, or broke the rules.
    """
    command = [sys.executable, "-P", "-m", module]  # -P: the working directory is no place for modules
    return run_program(
        command,
        job,
        result,
        progress=progress,
        stop=stop,
        on_result=on_result,
        environment=environment,
        limits=limits,
    )


def run_program(
    command: Sequence[str],
    job: msgspec.Struct,
    result: type[T],
    *,
    progress: Progress = silent,
    stop: StopSign | None = None,
    on_result: Callable[[T], None] | None = None,
    environment: Mapping[str, str] | None = None,
    limits: ChildLimits | None = None,
) -> T:
    """The same with any program that speaks as :mod:`child_side` does."""
    answers = _Answers(result, progress, on_result)
    name = command[-1].rpartition(".")[2]
    code, tail = run_tool(
        command,
        answers.take,
        stdin=msgspec.json.encode(job),
        stop=stop,
        environment=environment,
        limits=limits,
    )
    if answers.error is not None:
        kind = ERRORS.get(answers.error.code, WorldError)
        raise kind(answers.error.message)
    if code or answers.last is None:
        raise WorldError(describe_end(name, code, tail))
    return answers.last


def run_tool(
    command: Sequence[str],
    on_line: Callable[[bytes], None],
    *,
    stdin: bytes = b"",
    stop: StopSign | None = None,
    environment: Mapping[str, str] | None = None,
    limits: ChildLimits | None = None,
) -> tuple[int, str]:
    """Run a program that dies with this one; return its exit code (negative: signal) and its last words.

    The kernel kills it when the *thread* that calls this ends, which this function keeps until then.

    Args:
        command: The program, with its full path, and its arguments.
        on_line: Told each line of its standard output, from this thread.
        stdin: What it reads.
        stop: Ends it.
        environment: What its environment has beside the usual.
        limits: See there.

    Raises:
        StoppedError: It was asked to stop.
        WorldError: It cannot be started, or writes a line longer than the limit.
    """
    limits = limits or ChildLimits()
    stop = stop or StopSign()
    stop.check()
    # A file and no pipe: a child that does not read its work cannot hold us up.
    with tempfile.TemporaryFile() as work:
        work.write(stdin)
        work.seek(0)
        with _start(command, work, environment or {}) as process:
            reading = _Reading(process, on_line, limits)
            try:
                while reading.step():
                    stop.check()
                code = reading.code()
            finally:
                _end(process, limits)
    return code, reading.tail.decode(errors="replace").strip()


def describe_end(name: str, code: int, tail: str) -> str:
    """How a child ended that should not have, with its last words."""
    if code < 0:
        try:
            number = signal.Signals(-code)
            text = f"{name} was ended by signal {number.name}"
            text += f" ({_MEANINGS[number]})" if number in _MEANINGS else ""
        except ValueError:
            text = f"{name} was ended by signal {-code}"
    else:
        text = f"{name} ended with exit code {code}" + ("" if code else " and gave no result")
    last = tail.splitlines()[-1][:_WORDS_CHARS] if tail else ""
    return f"{text}; it last wrote: {last}" if last else text


class _Answers(Generic[T]):
    """What a child has told so far."""

    def __init__(self, result: type[T], progress: Progress, on_result: Callable[[T], None] | None) -> None:
        self._type = result
        self._progress = progress
        self._on_result = on_result
        self.last: T | None = None
        self.error: ErrorLine | None = None

    def take(self, line: bytes) -> None:
        """Take a line of its standard output.

        Raises:
            WorldError: It is none of the agreed ones.
        """
        try:
            told = msgspec.json.decode(line, type=Line)
            if isinstance(told, ProgressLine):
                self._progress(told.what, told.done, told.total)
            elif isinstance(told, ErrorLine):
                self.error = told
            elif isinstance(told, ResultLine):
                self.last = msgspec.json.decode(told.result, type=self._type)
                if self._on_result is not None:
                    self._on_result(self.last)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WorldError(f"the child wrote what is no line of its protocol: {error}") from error


class _Reading:
    """Both streams of a process, read by one thread."""

    def __init__(
        self, process: subprocess.Popen[bytes], on_line: Callable[[bytes], None], limits: ChildLimits
    ) -> None:
        self._process = process
        self._on_line = on_line
        self._limits = limits
        self._pending = b""
        self.tail = b""
        self._selector = selectors.DefaultSelector()
        for stream, take in ((process.stdout, self._take_output), (process.stderr, self._take_words)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._selector.register(stream, selectors.EVENT_READ, take)
        self._ended_at: float | None = None

    def step(self) -> bool:
        """Read what is there, or wait a little; False when the process is gone and all is read."""
        for key, _ in self._selector.select(self._limits.poll_s):
            data = os.read(key.fd, _READ_BYTES)
            if data:
                key.data(data)
            else:
                self._selector.unregister(key.fileobj)
        if self._process.poll() is None:
            return True
        # What it started may still hold the pipes, and is not waited for without end.
        self._ended_at = self._ended_at or time.monotonic()
        overdue = time.monotonic() - self._ended_at > self._limits.stop_timeout_s
        return bool(self._selector.get_map()) and not overdue

    def code(self) -> int:
        """How it ended; the last line is taken even without a line feed."""
        self._selector.close()
        if self._pending:
            self._on_line(self._pending)
        return self._process.wait()

    def _take_output(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in filter(None, lines):
            self._on_line(line)
        if len(self._pending) > self._limits.max_line_bytes:
            raise WorldError(f"the child wrote a line of more than {self._limits.max_line_bytes} bytes")

    def _take_words(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-self._limits.tail_bytes :]


def _start(
    command: Sequence[str], stdin: IO[bytes], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    dies_with_us = [sys.executable, "-I", "-S", str(launcher.__file__), str(os.getpid()), "-", "-"]
    try:
        return subprocess.Popen(  # noqa: S603 - the command is ours
            [*dies_with_us, *command],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=passed | {"GGML_NO_BACKTRACE": "1"} | dict(environment),  # an abort would start gdb
            start_new_session=True,  # Ctrl-C at the terminal is for us: we end it in order
        )
    except OSError as error:
        raise WorldError(f"cannot start {command[0]}: {error.strerror}") from error


def _end(process: subprocess.Popen[bytes], limits: ChildLimits) -> None:
    """End it, if it runs still, and what it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limits.stop_timeout_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""Starting the runner process, and what is left of it when it ends."""

import asyncio
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

# What the child gets of the daemon's environment: no secrets, and nothing that could change llama.cpp.
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
)
STDERR_LINE_CHARS = 300
TIME_LIMIT = -signal.SIGALRM
SOURCE_FOLDER = re.compile(r"\S*/(?=[\w.-]+\.(?:cpp|c|h):\d)")  # of the machine that built llama.cpp
RUNNER_MODULE = "skerry_agent.runtime.runner_main"


def runner_command() -> list[str]:
    """The command line of a runner, without the last argument: the parent's process id."""
    # -P: the daemon's working directory is no place for modules.
    return [sys.executable, "-P", "-m", RUNNER_MODULE]


HUGE_PAGES = "glibc.malloc.hugetlb=1"
"""Huge pages for large blocks (glibc from 2.35 on; others take no notice): a step reads caches and buffers
from end to end."""


def runner_environment(environment: Mapping[str, str], *, threads: int, huge_pages: bool) -> dict[str, str]:
    """The environment of a runner, from the daemon's."""
    passed = {name: environment[name] for name in PASSED_ON if name in environment}
    if huge_pages:
        passed["GLIBC_TUNABLES"] = HUGE_PAGES
    return passed | {
        "GGML_NO_BACKTRACE": "1",  # an abort would start gdb
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
    }


async def spawn(command: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start a runner with pipes on all three streams, in a session of its own.

    The runner is killed when the *thread* that calls this ends (Linux's PR_SET_PDEATHSIG): call it from the
    daemon's main thread.

    Raises:
        OSError: It cannot be started.
    """
    return await asyncio.create_subprocess_exec(
        *command,
        str(os.getpid()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        close_fds=True,
        start_new_session=True,  # a Ctrl-C at the terminal is for the daemon, which ends its runners in order
    )


class StderrTail:
    """Keeps the end of what a process writes to stderr.

    Args:
        max_bytes: How much is kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: deque[bytes] = deque()
        self._size = 0

    async def collect(self, stream: asyncio.StreamReader) -> None:
        """Read until the stream ends."""
        while part := await stream.read(4096):
            self._parts.append(part)
            self._size += len(part)
            while self._size - len(self._parts[0]) >= self._max_bytes:
                self._size -= len(self._parts.popleft())

    @property
    def text(self) -> str:
        """What is kept, at most ``max_bytes`` of it."""
        return b"".join(self._parts)[-self._max_bytes :].decode(errors="replace").strip()


def describe_exit(code: int | None) -> str:
    """How a process ended, in words: ``by signal SIGKILL``, ``with exit code 3``."""
    if code is None:
        return "without telling how"
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def describe_crash(code: int | None, *, killed_because: str | None, stderr_tail: str) -> str:
    """How a runner ended, why we killed it if we did, and the last line that it wrote."""
    text = f"ended {describe_exit(code)}"
    if killed_because is not None:
        text = f"{text}: it was killed, since {killed_because}"
    elif code == TIME_LIMIT:
        text = f"{text}: the model's chat template did not end"
    if stderr_tail:
        last = SOURCE_FOLDER.sub("", stderr_tail.splitlines()[-1])
        text = f"{text} (it last wrote: {last[:STDERR_LINE_CHARS]})"
    return text


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, mapped pages included; 0 when it is gone (Linux)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGESIZE")

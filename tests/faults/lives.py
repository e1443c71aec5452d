"""Lives of the agent: each in a child process that is forked off, so that starting one costs milliseconds."""

import json
import os
import select
import signal
import time
from dataclasses import dataclass, field
from typing import Any, Final

from faults.agent import live
from faults.rooms import Run
from faults.stage import Stage

_DEADLINE_S: Final = 90.0
Fact = dict[str, Any]


@dataclass(frozen=True)
class Life:
    """How a run went.

    Attributes:
        killed: It ended by SIGKILL.
        facts: What it told until then.
    """

    killed: bool
    facts: list[Fact] = field(default_factory=list)

    def of(self, kind: str) -> list[Fact]:
        """Facts of one kind."""
        return [fact for fact in self.facts if fact["fact"] == kind]

    @property
    def end(self) -> Fact | None:
        """What it told last, when it came to its end."""
        return next(iter(self.of("end")), None)


def lead(run: Run, stage: Stage) -> Life:
    """Let an agent live. The caller has no threads.

    Raises:
        TimeoutError: It hangs; it was killed.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reading)
            live(run, stage, writing)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        told = _read(reading)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        _, status = os.waitpid(pid, 0)
    facts = [json.loads(line) for line in told.splitlines()]
    return Life(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, facts)


def _read(descriptor: int) -> bytes:
    told = b""
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"the agent hangs; it told: {told.decode()[-2000:]}")
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return told
        told += piece

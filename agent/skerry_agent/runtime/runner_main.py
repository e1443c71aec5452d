"""The runner process: ``python -m skerry_agent.runtime.runner_main PARENT_PID``, started by ``Runner`` only.

Messages come in on stdin and go out on what stdout was at the start; after that stdout is stderr, so that
nothing a library prints can get between them.
"""

import ctypes
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from skerry_agent.runtime.growth_limit import be_killed_first
from skerry_agent.runtime.wire import (
    HEADER,
    Cancel,
    Detokenize,
    Embed,
    FromRunner,
    Load,
    LoadFailed,
    Ping,
    Pong,
    Score,
    Submit,
    Tokenize,
    WireError,
    body_length,
    decode_to_runner,
    encode,
)

if TYPE_CHECKING:
    from skerry_agent.runtime.engine import Engine

EXIT_ORPHAN = 70
EXIT_PROTOCOL = 71
EXIT_LOAD_FAILED = 72
EXIT_BROKEN = 73
PR_SET_PDEATHSIG = 1
SWITCH_INTERVAL_S = 0.0005
MAX_WAITING_FRAMES = 64


class _Pipe:
    """Both directions of the connection to the daemon; ``send`` may be called by any thread.

    A thread of its own writes: a write wakes the daemon, often on the very core of the thread that wrote, and
    the engine would wait until the daemon has passed the tokens on.
    """

    def __init__(self, source: BinaryIO, target: int) -> None:
        self._source = source
        self._target = target
        self._frames: queue.Queue[bytes] = queue.Queue(MAX_WAITING_FRAMES)
        threading.Thread(target=self._write_all, name="writer", daemon=True).start()

    def receive(self) -> bytes | None:
        """The next message's body; None at the end."""
        header = self._source.read(HEADER.size)
        if len(header) < HEADER.size:
            return None
        length = body_length(header)
        body = self._source.read(length)
        return body if len(body) == length else None

    def send(self, messages: Sequence[FromRunner]) -> None:
        """Have messages written; waits while the daemon reads none."""
        self._frames.put(b"".join(map(encode, messages)))

    def flush(self) -> None:
        """Wait until all is written."""
        self._frames.join()

    def _write_all(self) -> None:
        while True:
            frame = memoryview(self._frames.get())
            try:
                while frame:
                    frame = frame[os.write(self._target, frame) :]
            except BrokenPipeError:
                # The daemon is gone; nobody is left to tell.
                os._exit(EXIT_ORPHAN)
            self._frames.task_done()


def _take_pipes() -> _Pipe:
    source = os.fdopen(os.dup(0), "rb")  # dup'ed descriptors are not inherited by children
    target = os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return _Pipe(source, target)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends (Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before the call above
        os._exit(EXIT_ORPHAN)


def _run(pipe: _Pipe) -> int:
    body = pipe.receive()
    if body is None:
        return 0
    load = decode_to_runner(body)
    if not isinstance(load, Load):
        raise WireError("the first message has to be load")
    os.nice(load.nice)
    be_killed_first()
    # Heavy, and only here: the daemon imports none of these.
    from skerry_agent.runtime.engine_setup import load_engine  # noqa: PLC0415
    from skerry_agent.runtime.llama_model import LoadRefusedError  # noqa: PLC0415

    try:
        engine, ready = load_engine(load, emit=pipe.send, on_broken=_end_broken)
    except LoadRefusedError as error:
        pipe.send([LoadFailed(str(error))])
        pipe.flush()
        return EXIT_LOAD_FAILED
    engine.start()
    pipe.send([ready])
    _serve(pipe, engine)
    return 0


def _end_broken(error: Exception) -> None:
    sys.stderr.write(f"the engine is broken: {error}\n")
    sys.stderr.flush()
    os._exit(EXIT_BROKEN)


def _serve(pipe: _Pipe, engine: "Engine") -> None:
    while (body := pipe.receive()) is not None:
        message = decode_to_runner(body)
        if isinstance(message, Submit):
            engine.submit(message.job, message.request)
        elif isinstance(message, Embed):
            engine.embed(message.job, message.request)
        elif isinstance(message, Score):
            engine.score(message)
        elif isinstance(message, Tokenize | Detokenize):
            engine.ask(message)
        elif isinstance(message, Cancel):
            engine.cancel(message.job)
        elif isinstance(message, Ping):
            pipe.send([Pong(message.number)])
        else:
            raise WireError("load comes once")


def main() -> None:
    """Run until the daemon closes the pipe."""
    pipe = _take_pipes()
    _die_with(int(sys.argv[1]))
    # The engine takes the interpreter's lock some ten times a step; a template that renders beside it must
    # not make it wait for the usual 5 ms each time.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        code = _run(pipe)
    except WireError as error:
        sys.stderr.write(f"{error}\n")
        code = EXIT_PROTOCOL
    sys.stderr.flush()
    # No clean-up: the engine may be in the middle of a step, and the kernel frees all.
    os._exit(code)


if __name__ == "__main__":
    main()

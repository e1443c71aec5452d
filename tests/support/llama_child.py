"""Loads model files with llama.cpp, each in a process of its own, since it may abort.

Run as a script, it reads paths from its standard input (a model's, or a model's and an adapter's with a tab
between) and answers each with a line: what became of the process. It imports llama.cpp once and forks for
each file, as a fresh interpreter would cost half a second.
"""

import contextlib
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DEADLINE_S = 10
ANSWERED, NOT_LOADED, NOT_ANSWERED = 0, 10, 11


class LlamaChild:
    """The other end: asks a running script about files."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def outcome(self, path: Path, adapter: Path | None = None) -> int:
        """ANSWERED, NOT_LOADED, NOT_ANSWERED, or the negative number of the signal that ended the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\n" if adapter is None else f"{path}\t{adapter}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextlib.contextmanager
def llama_child() -> Iterator[LlamaChild]:
    """Start the script; it ends with the block."""
    # Without this an abort starts a debugger to print where it happened.
    environment = os.environ | {"GGML_NO_BACKTRACE": "1"}
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        yield LlamaChild(process)


def _serve() -> None:
    import llama_cpp  # noqa: PLC0415 - only the child needs it

    def load_and_answer(path: str, adapter: str | None = None) -> int:
        load = functools.partial(llama_cpp.Llama, path, n_ctx=32, n_batch=32, n_threads=1, n_threads_batch=1)
        try:
            model = load(lora_path=adapter, verbose=False)
        except Exception:  # noqa: BLE001 - any exception means that the process lives
            return NOT_LOADED
        try:
            model.create_completion("Hello the ü", max_tokens=2)
        except Exception:  # noqa: BLE001 - the same
            return NOT_ANSWERED
        return ANSWERED

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            signal.alarm(DEADLINE_S)
            os._exit(load_and_answer(*line.rstrip("\n").split("\t")))
        _, status = os.waitpid(pid, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


if __name__ == "__main__":
    _serve()

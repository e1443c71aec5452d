"""A child of the workshop that does what the test asks: ``python -m support.workshop_child``."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from skerry_controller.errors import ConflictError
from skerry_controller.workshop.child_side import Parent, serve
from skerry_protocol.errors import ModelFileError


class Play(msgspec.Struct, frozen=True):
    """What to do, and a file to write process ids to."""

    act: str
    path: str = ""
    padding: str = ""


class Done(msgspec.Struct, frozen=True):
    """What was done."""

    number: int
    words: str = ""


def _wait(path: str) -> None:
    Path(path).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(300)


def _wait_with_a_child(path: str) -> None:
    """A grandchild that holds the pipes too."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    Path(path).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
    time.sleep(300)


def play(job: Play, parent: Parent) -> Done | None:  # noqa: C901 - one line for each act
    """Do it."""
    match job.act:
        case "count":
            os.write(1, b"a library prints this\n")
            for step in range(3):
                parent.progress("counting", step + 1, 3)
                parent.result(Done(step))
            return Done(3, f"{len(job.padding)} {os.environ.get('SKERRY_KEYRING_PASSPHRASE')}")
        case "conflict":
            raise ConflictError("it is there already")
        case "bad model":
            raise ModelFileError("no model")
        case "no disk":
            raise OSError(28, "No space left on device", "/some/file")
        case "abort":
            sys.stderr.write("GGML_ASSERT failed: /build/ggml.c:12\n")
            sys.stderr.flush()
            os.abort()
        case "traceback":
            raise RuntimeError("a bug")
        case "silent":
            return None
        case "babble":
            os.write(parent._out.fileno(), b"no JSON\n")
        case "wait":
            _wait(job.path)
        case "wait with a child":
            _wait_with_a_child(job.path)
    return Done(0)


if __name__ == "__main__":
    serve(Play, play)

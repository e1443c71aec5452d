"""Runs llama.cpp's converter in the converter's own environment: ``PYTHON -I converter_tool.py``.

A script that imports nothing of Skerry, since that environment has none of it; it speaks as
``workshop/child_side.py`` does. The converter asks the tokenizers' package to run code that a checkpoint
brings along; here that is switched off in whatever way it is asked for.
"""

import contextlib
import json
import os
import runpy
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

POLL_S = 0.2
EXIT_REFUSED = 3
LAST_LINES = 3


def main() -> int:
    """Convert as the job on standard input says."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.read())
    lock = threading.Lock()

    def tell(line: dict[str, Any]) -> None:
        with lock:
            answers.write(json.dumps(line) + "\n")
            answers.flush()

    tell({"t": "progress", "what": "starting the converter", "done": 0})
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(job, tell, done), daemon=True)
    watcher.start()
    try:
        _convert(job)
    except SystemExit as error:
        if error.code:
            tell({"t": "error", "code": "refused", "message": f"llama.cpp's converter gave up: {error.code}"})
            return EXIT_REFUSED
    except MemoryError:
        tell({"t": "error", "code": "unavailable", "message": "the converter ran out of memory"})
        return EXIT_REFUSED
    except OSError as error:
        traceback.print_exc()
        words = f"the converter failed: {error.strerror or error} {error.filename or ''}".strip()
        tell({"t": "error", "code": "unavailable", "message": words})
        return EXIT_REFUSED
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line, and the log the rest
        traceback.print_exc()
        words = f"llama.cpp's converter refused it: {type(error).__name__}: {error}"
        tell({"t": "error", "code": "refused", "message": words})
        return EXIT_REFUSED
    finally:
        done.set()
        watcher.join()
    tell({"t": "result", "result": {"length": Path(job["target"]).stat().st_size}})
    return 0


def _convert(job: dict[str, Any]) -> None:
    source = Path(job["source"])
    # The gguf package beside the converter, not one that is installed; nothing of the checkpoint's folder.
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    _forbid_foreign_code()
    sys.argv = [
        "convert_hf_to_gguf.py",
        job["checkpoint"],
        "--outfile",
        job["target"],
        "--outtype",
        job["type"],
        *(["--model-name", job["name"]] if job.get("name") else []),
    ]
    runpy.run_path(str(source / "convert_hf_to_gguf.py"), run_name="__main__")


def _forbid_foreign_code() -> None:
    """A checkpoint may name Python files of its own; whoever asks for them is told no.

    Before anything else of that package is loaded: its other modules take these functions from this one.
    """
    import transformers.dynamic_module_utils as dynamic  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - is in the converter's environment only

    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise ValueError("the checkpoint wants to run Python code that it brings along, which is refused")

    def resolve(_asked: Any, _name: Any, local: Any, remote: Any, *_: Any, **__: Any) -> bool:
        if remote and not local:  # the package's own class serves as well
            refuse()
        return False

    dynamic.get_class_from_dynamic_module = refuse
    dynamic.get_class_in_module = refuse
    dynamic.resolve_trust_remote_code = resolve


def _watch(job: dict[str, Any], tell: Any, done: threading.Event) -> None:
    target, expected = Path(job["target"]), job["expected_bytes"]
    while not done.wait(POLL_S):
        with contextlib.suppress(FileNotFoundError):
            size = target.stat().st_size
            if size:
                tell({"t": "progress", "what": "converting", "done": min(size, expected), "total": expected})


if __name__ == "__main__":
    sys.exit(main())

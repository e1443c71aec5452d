"""The child that quantizes: ``python -m skerry_controller.workshop.quantizing.quantize_main``.

Started by :mod:`skerry_controller.workshop.quantizing` only; see there and ``workshop/child.py``.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from skerry_controller.errors import PeerError, UsageError, WorldError
from skerry_controller.workshop.child_side import Parent, serve
from skerry_controller.workshop.quantizing.imatrix import read_imatrix
from skerry_controller.workshop.quantizing.llama_log import Said, read_log

if TYPE_CHECKING:
    from array import array

POLL_S = 0.2
BUFFER_BYTES = 64 * 1024 * 1024
"""Rows in memory at once; llama.cpp's own 8 GiB would hold any matrix, and tell no progress within it."""


class QuantizeJob(msgspec.Struct, frozen=True, kw_only=True):
    """What to do.

    Attributes:
        source: The model's file.
        target: Where the result goes; None for a dry run.
        file_type: The number of the type.
        threads: How many work.
        keep_output: Leave the output layer as it is.
        pure: No mixture: all matrices get the one type.
        embedding_type: The number of the tensor type that the token embeddings get; None for the mixture's.
        imatrix: File of an importance matrix.
        expected_bytes: Of the result, for progress.
    """

    source: str
    target: str | None = None
    file_type: int
    threads: int
    keep_output: bool = False
    pure: bool = False
    embedding_type: int | None = None
    imatrix: str | None = None
    expected_bytes: int = 0


def quantize(job: QuantizeJob, parent: Parent) -> Said:
    """Do it, and tell what llama.cpp said."""
    import llama_cpp  # noqa: PLC0415 - heavy, and only here

    words: list[bytes] = []

    def on_log(_level: int, text: bytes, _data: Any) -> None:
        words.append(text)
        sys.stderr.buffer.write(text)  # the last words, should this process die
        sys.stderr.buffer.flush()

    callback = llama_cpp.llama_log_callback(on_log)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.max_buf_size = job.file_type, job.threads, BUFFER_BYTES
    params.allow_requantize = True  # whether it makes sense was decided before
    params.quantize_output_tensor, params.pure = not job.keep_output, job.pure
    params.dry_run = job.target is None
    if job.embedding_type is not None:
        params.token_embedding_type = job.embedding_type
    kept = _with_imatrix(llama_cpp, params, job.imatrix)
    target = job.target or os.devnull
    with _growth_told(Path(target), job.expected_bytes, parent) if job.target else _nothing():
        code = llama_cpp.llama_model_quantize(job.source.encode(), target.encode(), ctypes.byref(params))
    del kept, callback
    said = read_log(b"".join(words).decode(errors="replace"))
    _check(code, said)
    return said


def _check(code: int, said: Said) -> None:
    if said.needs_imatrix:
        raise UsageError("this type needs an importance matrix: give one with --imatrix FILE")
    reason = said.failure or "it did not say why"
    if code and "iostream" in reason:
        raise WorldError("the result could not be written whole, most likely since the disk is full")
    if code:
        raise PeerError(f"llama.cpp did not quantize the model: {reason}")


def _with_imatrix(llama_cpp: Any, params: Any, path: str | None) -> list[Any]:
    """Hand an importance matrix over; returns what must live as long as llama.cpp reads it."""
    if path is None:
        return []
    entries = read_imatrix(Path(path)).entries
    buffers = [_float_buffer(values) for values in entries.values()]
    table = (llama_cpp.llama_model_imatrix_data * (len(entries) + 1))()
    for row, name, values in zip(table, entries, buffers, strict=False):
        row.name, row.size = name.encode(), len(values)
        row.data = ctypes.cast(values, ctypes.POINTER(ctypes.c_float))
    params.imatrix = table
    return [table, buffers]


def _float_buffer(values: "array[float]") -> Any:
    return (ctypes.c_float * len(values)).from_buffer(values)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _growth_told(target: Path, expected: int, parent: Parent) -> Iterator[None]:
    """Tell how far the result has grown; ctypes lets this thread run meanwhile."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_S):
            size = target.stat().st_size if target.exists() else 0
            parent.progress("quantizing", min(size, expected), expected)

    watcher = threading.Thread(target=watch, name="growth")
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    parent.progress("quantizing", expected, expected)


if __name__ == "__main__":
    serve(QuantizeJob, quantize)

"""The child of :mod:`skerry_controller.workshop.importing.trying`."""

import ctypes
from typing import Any

from skerry_controller.workshop.child_side import Parent, serve
from skerry_controller.workshop.importing.trying import Tried, TryJob

_ERROR = 4
_WARNING = 3


def try_model(job: TryJob, parent: Parent) -> Tried:
    """Load the file, mapped and without copies for faster kernels, and let it go."""
    del parent
    import llama_cpp as lib  # noqa: PLC0415 - only this process has it

    said: list[str] = []

    @lib.llama_log_callback  # type: ignore[untyped-decorator]  # it ships no type information
    def note(level: int, text: bytes, _: Any) -> None:
        if level in (_ERROR, _WARNING):
            said.append(text.decode(errors="replace").strip())

    lib.llama_log_set(note, ctypes.c_void_p(0))
    lib.llama_backend_init()
    params = lib.llama_model_default_params()
    params.n_gpu_layers = 0
    params.use_extra_bufts = False
    model = lib.llama_model_load_from_file(job.path.encode(), params)
    if not model:
        return Tried(failure=_reason(said))
    lib.llama_model_free(model)
    return Tried(failure=None)


def _reason(said: list[str]) -> str:
    """The line that tells most: llama.cpp repeats the failure in ever more general words."""
    words = next(
        (line for line in said if "error loading" in line), said[0] if said else "it gives no reason"
    )
    return words.rpartition("error loading model: ")[2].rpartition("llama_model_load: ")[2]


if __name__ == "__main__":
    serve(TryJob, try_model)

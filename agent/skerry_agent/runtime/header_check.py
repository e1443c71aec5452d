"""Our own look at a model file before llama.cpp gets it; the usual ``check_header`` of a pool."""

import mmap
from pathlib import Path

from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_check import read_model_header
from skerry_protocol.model_description import ModelDescription, describe_model


def check_model_file(path: Path) -> ModelDescription:
    """Refuse a file on which llama.cpp would abort or say nothing useful, and describe it otherwise.

    Blocks: run it in a thread.

    Raises:
        ModelFileError: The file is no model, is damaged or truncated, or would make llama.cpp abort.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ModelFileError(f"{path.name} is empty: fetch or import it again")  # and cannot be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return describe_model(read_model_header(mapped))

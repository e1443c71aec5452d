"""What this llama.cpp says of an architecture: ``python -m skerry_agent.runtime.library_main ARCHITECTURE``.

A child process, as runners are: it loads the library, hands it a header that names the architecture and
nothing else, and prints a line of JSON. llama.cpp has no list to ask for, but it tells an unknown name from
a header that lacks something.
"""

import ctypes
import json
import sys
import tempfile
from pathlib import Path

from llama_cpp import llama_cpp as lib

_UNKNOWN = b"unknown model architecture"
_STRING = 8  # GGUF_TYPE_STRING


def header(architecture: str) -> bytes:
    """A GGUF file of one metadata entry and no tensor."""

    def text(value: bytes) -> bytes:
        return len(value).to_bytes(8, "little") + value

    counts = (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    entry = text(b"general.architecture") + _STRING.to_bytes(4, "little") + text(architecture.encode())
    return (b"GGUF" + counts + entry).ljust(256, b"\0")


def knows(architecture: str) -> bool:
    """Whether the library knows a name."""
    said: list[bytes] = []

    def take(_level: int, line: bytes | None, _data: object) -> None:
        said.append(line or b"")

    callback = lib.llama_log_callback(take)
    lib.llama_log_set(callback, ctypes.c_void_p(0))
    lib.llama_backend_init()
    params = lib.llama_model_default_params()
    params.vocab_only = True
    params.n_gpu_layers = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header.gguf"
        path.write_bytes(header(architecture))
        if lib.llama_model_load_from_file(bytes(path), params):
            return True
    return _UNKNOWN not in b"".join(said)


def main() -> None:
    """Print the answer."""
    answer = {"knows": knows(sys.argv[1]), "system": lib.llama_print_system_info().decode(errors="replace")}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()

"""Simulated fine-tunes: what a training run does to the weights, without one.

The parent is the real model as F16 (dequantized by llama.cpp, so its values come from 4-bit ones). Every
matrix W gets a change of rank 16: random Gaussian factors, whose product is scaled to a share of the
Frobenius norm of W. That is how LoRA training, merged into the weights, looks; a full fine-tune is denser.
Norms and biases stay. Parent and child are then quantized in the same way by llama.cpp's own
``llama_model_quantize``.
"""

import ctypes
import mmap
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skerry_protocol.gguf_header import TensorInfo, read_gguf_header

RANK: Final = 16
FILE_TYPES: Final = {"F16": 1, "Q4_0": 2, "Q8_0": 7, "Q4_K_M": 15}
"""By llama.cpp's ``llama_ftype``."""
_ROWS: Final = 8192
"""Rows of a matrix that are changed at once: bounds memory."""

Floats = NDArray[np.float32]
Change = Callable[[np.random.Generator, "NDArray[np.float16]"], None]
"""Changes one matrix in place."""


class QuantizeError(RuntimeError):
    """llama.cpp did not quantize."""


def quantize(source: Path, target: Path, file_type: str, *, threads: int) -> None:
    """Write ``source`` in another type; a quantized source is dequantized first.

    Raises:
        QuantizeError: llama.cpp refused.
    """
    from llama_cpp import llama_cpp as llama  # noqa: PLC0415 - takes a while to load, and only pairs need it

    params = llama.llama_model_quantize_default_params()
    params.ftype = FILE_TYPES[file_type]
    params.allow_requantize = True
    params.nthread = threads
    llama.llama_log_set(_SILENT, ctypes.c_void_p(0))
    code = llama.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    if code:
        raise QuantizeError(f"llama_model_quantize({source.name}, {file_type}) answered {code}")


def _silent(_level: int, _text: bytes, _data: object) -> None:
    """What llama.cpp says while it works is of no use here."""


_SILENT: Final = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(_silent)


def change_matrices(path: Path, change: Change, *, names: str = "", seed: int = 1) -> list[str]:
    """Change the matrices of an F16 file where it lies.

    Args:
        path: The file.
        change: What is done to each.
        names: Only tensors whose names match this pattern.
        seed: Of the random numbers.

    Returns:
        The names of what was changed.
    """
    changed = []
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        header = read_gguf_header(view)
        for number, tensor in enumerate(header.tensors):
            if tensor.type.name == "F16" and re.search(names, tensor.name):
                change(np.random.default_rng((seed, number)), _matrix(view, tensor))
                changed.append(tensor.name)
    return changed


def low_rank(share: float) -> Change:
    """A change of rank 16 by this share of the matrix's norm."""

    def change(random: np.random.Generator, matrix: NDArray[np.float16]) -> None:
        rows, columns = matrix.shape
        left: Floats = random.standard_normal((rows, RANK), np.float32)
        right: Floats = random.standard_normal((RANK, columns), np.float32)
        # |L R|² = trace(LᵀL RRᵀ): the product need not be made whole.
        product_norm = float(np.sqrt(np.sum((left.T @ left) * (right @ right.T))))
        scale = np.float32(share * norm(matrix) / product_norm)
        for start in range(0, rows, _ROWS):
            part = matrix[start : start + _ROWS]
            part[:] = part.astype(np.float32) + scale * (left[start : start + _ROWS] @ right)

    return change


def full_rank(share: float) -> Change:
    """A dense random change by this share of the matrix's norm, as of layers that were trained anew."""

    def change(random: np.random.Generator, matrix: NDArray[np.float16]) -> None:
        scale = np.float32(share * norm(matrix) / np.sqrt(matrix.size))
        for start in range(0, matrix.shape[0], _ROWS):
            part = matrix[start : start + _ROWS]
            part[:] = part.astype(np.float32) + scale * random.standard_normal(part.shape, np.float32)

    return change


def norm(matrix: NDArray[np.float16]) -> float:
    """The Frobenius norm."""
    parts = (matrix[start : start + _ROWS].astype(np.float64) for start in range(0, len(matrix), _ROWS))
    return float(np.sqrt(sum(float(np.vdot(part, part)) for part in parts)))


def _matrix(view: mmap.mmap, tensor: TensorInfo) -> NDArray[np.float16]:
    columns = tensor.dimensions[0]
    flat = np.frombuffer(view, np.float16, count=tensor.elements, offset=tensor.offset)
    return flat.reshape(-1, columns)

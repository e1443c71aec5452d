"""LoRA adapters for any GGUF model: random matrices, laid out as ``convert_lora_to_gguf`` does.

As a script, it makes one for a model: ``python -m support.lora_gguf BASE.gguf OUT.gguf --rank 8``.
"""

import argparse
import mmap
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import gguf
import numpy as np
from numpy.typing import NDArray

from skerry_protocol.gguf_header import GgufHeader, TensorInfo, read_gguf_header

Matrix: TypeAlias = NDArray[Any]
Tensors: TypeAlias = dict[str, Matrix]
ATTENTION: Final = ("attn_q", "attn_k", "attn_v", "attn_output")
ALL_MATRICES: Final = (*ATTENTION, "ffn_gate", "ffn_up", "ffn_down")


def write_lora_gguf(
    path: Path | str,
    base: Path | str,
    *,
    seed: int = 0,
    rank: int = 4,
    strength: float = 0.7,
    alpha: float | None = None,
    targets: Collection[str] = ALL_MATRICES,
    half: bool = False,
    name: str = "tiny-lora",
    licence: str | None = "apache-2.0",
    overrides: Mapping[str, str | int | float | None] | None = None,
    change: Callable[[Tensors], object] | None = None,
) -> Path:
    """Write an adapter for the model ``base`` to ``path`` and return the path; equal arguments, equal bytes.

    Args:
        path: Where to write.
        base: The model.
        seed: Of the random matrices.
        rank: Of each pair.
        strength: How far the product is from nothing: at 1, as a random matrix that keeps a vector's length.
        alpha: ``adapter.lora.alpha``; None for the rank, so that the product counts as it is.
        targets: Which matrices of each block are changed.
        half: Write F16 in place of F32.
        name: ``general.name``.
        licence: ``general.license``, or None to leave it out.
        overrides: Metadata to replace or add, or None to leave a key out.
        change: Gets the tensors (numpy's order of axes) before they are written, to spoil them.
    """
    tensors = _pairs(_header(Path(base)), seed=seed, rank=rank, strength=strength, targets=targets)
    if half:
        tensors = {key: matrix.astype(np.float16) for key, matrix in tensors.items()}
    if change is not None:
        change(tensors)
    metadata: dict[str, str | int | float | None] = {
        "general.architecture": str(_header(Path(base)).metadata["general.architecture"]),
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": float(rank if alpha is None else alpha),
        "general.name": name,
        "general.license": licence,
        **(overrides or {}),
    }
    writer = gguf.GGUFWriter(path, "")
    writer.kv_data[0].clear()
    kinds = {
        str: gguf.GGUFValueType.STRING,
        float: gguf.GGUFValueType.FLOAT32,
        int: gguf.GGUFValueType.UINT32,
    }
    for key, value in metadata.items():
        if value is not None:
            writer.add_key_value(key, value, kinds[type(value)])
    for tensor, matrix in tensors.items():
        writer.add_tensor(tensor, matrix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)


def _header(base: Path) -> GgufHeader:
    with base.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return read_gguf_header(data)


def _pairs(header: GgufHeader, *, seed: int, rank: int, strength: float, targets: Collection[str]) -> Tensors:
    random = np.random.default_rng(seed)
    found: Tensors = {}
    for tensor in header.tensors:
        if tensor.name.startswith("blk.") and tensor.name.split(".")[2] in targets:
            inputs, outputs = _ends(tensor)
            a = random.standard_normal((rank, inputs)) / inputs**0.5
            b = random.standard_normal((outputs, rank)) * (strength / rank**0.5)
            found[f"{tensor.name}.lora_a"] = a.astype(np.float32)
            found[f"{tensor.name}.lora_b"] = b.astype(np.float32)
    return found


def _ends(tensor: TensorInfo) -> tuple[int, int]:
    inputs, outputs = tensor.dimensions
    return inputs, outputs


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a LoRA adapter with random weights for a GGUF model.")
    parser.add_argument("base", type=Path)
    parser.add_argument("path", type=Path)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strength", type=float, default=0.3)
    options = parser.parse_args()
    write_lora_gguf(
        options.path, options.base, rank=options.rank, seed=options.seed, strength=options.strength
    )

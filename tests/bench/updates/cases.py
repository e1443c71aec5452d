"""The pairs: what a device has, and what it shall have."""

import mmap
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bench.updates import finetune
from bench.updates.cache import Cache
from bench.updates.metadata_fix import TEMPLATE_KEY, with_entry
from skerry_protocol.gguf_header import read_gguf_header
from support.lora_gguf import write_lora_gguf

Kind = Literal["template", "block", "finetune", "requantized", "adapter", "same"]
SHARES: Final = {"0.2 %": 0.002, "1 %": 0.01}
FILE_TYPES: Final = ("Q4_0", "Q4_K_M", "Q8_0", "F16")
BLOCK: Final = 7
ADAPTER_RANK: Final = 16
THREADS: Final = 2
_BLOCK_SHARE: Final = 0.1
_TEMPLATE: Final = """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}\
{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role }}
{{ message['content'] | trim }}{{ '<end_of_turn>' }}
{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model' }}
{% endif %}"""


@dataclass(frozen=True)
class Case:
    """One pair.

    Attributes:
        name: As it is shown and chosen.
        file_type: Of the new file, where that varies.
        share: How far the weights moved, where that varies.
    """

    name: str
    kind: Kind
    file_type: str = ""
    share: str = ""


CASES: Final = (
    Case("a: chat template", "template"),
    Case("b: one block", "block"),
    *(Case(f"c: {t}, {s}", "finetune", t, s) for t in FILE_TYPES for s in SHARES),
    Case("d: Q4_K_M to Q8_0", "requantized", "Q8_0"),
    Case("d: Q4_K_M to Q4_0", "requantized", "Q4_0"),
    Case("e: LoRA adapter", "adapter"),
    Case("f: same again", "same"),
)
QUICK: Final = ("a: chat template", "b: one block", "c: Q4_0, 1 %", "f: same again")


class Pairs:
    """Makes the files of one model's cases."""

    def __init__(self, name: str, model: Path, cache: Cache) -> None:
        self._name = name
        self._model = model
        self._cache = cache

    def build(self, case: Case) -> tuple[Path, Path]:
        """The old and the new file."""
        match case.kind:
            case "template":
                return self._model, self._made("template", lambda path: fix_template(self._model, path))
            case "same":
                # Another name: zstd takes no file against itself.
                return self._model, self._made("same", lambda path: shutil.copyfile(self._model, path))
            case "block":
                return self._quantized("base", "Q4_K_M"), self._quantized("block", "Q4_K_M")
            case "finetune":
                return self._quantized("base", case.file_type), self._quantized(case.share, case.file_type)
            case "requantized":
                return self._quantized("base", "Q4_K_M"), self._quantized("base", case.file_type)
            case "adapter":
                base = self._quantized("base", "Q4_K_M")
                return base, self._made(
                    "adapter", lambda path: write_lora_gguf(path, base, rank=ADAPTER_RANK)
                )

    def _made(self, name: str, make: Callable[[Path], object]) -> Path:
        return self._cache.file(f"{self._name}-{name}.gguf", make)

    def _quantized(self, weights: str, file_type: str) -> Path:
        parent = self._weights(weights)
        if file_type == "F16":
            return parent
        return self._made(
            f"{_slug(weights)}-{file_type}",
            lambda path: finetune.quantize(parent, path, file_type, threads=THREADS),
        )

    def _weights(self, weights: str) -> Path:
        base = self._made(
            "base-F16", lambda path: finetune.quantize(self._model, path, "F16", threads=THREADS)
        )
        if weights == "base":
            return base

        def make(path: Path) -> None:
            shutil.copyfile(base, path)
            if weights == "block":
                finetune.change_matrices(path, finetune.full_rank(_BLOCK_SHARE), names=rf"^blk\.{BLOCK}\.")
            else:
                finetune.change_matrices(path, finetune.low_rank(SHARES[weights]))

        return self._made(f"{_slug(weights)}-F16", make)


def fix_template(model: Path, target: Path) -> None:
    """Write the model with another chat template."""
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        parts = with_entry(view, read_gguf_header(view), TEMPLATE_KEY, _TEMPLATE)
        with target.open("wb") as out:
            out.writelines(parts)
        for part in (*parts, view):
            if isinstance(part, memoryview):
                part.release()


def changed_tensor_bytes(old: Path, new: Path) -> int:
    """Bytes of the new file's tensors that the old one has not, by name and content."""
    with old.open("rb") as a, new.open("rb") as b:
        before = mmap.mmap(a.fileno(), 0, access=mmap.ACCESS_READ)
        after = mmap.mmap(b.fileno(), 0, access=mmap.ACCESS_READ)
        with before, after:
            held = {tensor.name: tensor for tensor in read_gguf_header(before).tensors}
            changed = 0
            for tensor in read_gguf_header(after).tensors:
                same = held.get(tensor.name)
                data = after[tensor.offset : tensor.offset + tensor.length]
                if same is None or before[same.offset : same.offset + same.length] != data:
                    changed += tensor.length
            return changed


def _slug(weights: str) -> str:
    return weights.replace(" %", "pct")

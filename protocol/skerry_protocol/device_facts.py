"""The words by which a manifest's selectors know a device, and the class of machines that it is of. Pure."""

import re
from collections.abc import Collection
from typing import Final

CPU_FEATURES: Final = (
    "sse3",
    "ssse3",
    "avx",
    "avx2",
    "avx_vnni",
    "fma",
    "f16c",
    "bmi2",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vbmi",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
    "sme",
    "v",
)
"""Flags of ``/proc/cpuinfo`` for which llama.cpp has kernels of their own; all others would only be noise."""

MEMORY_CLASSES_GIB: Final = (1, 2, 4, 8, 16, 32, 64)
KEPT_BACK: Final = 0.8
"""A board sold with 4 GiB shows 3.7 to 3.9 to its programs: it counts as one from this share on."""

_GIB: Final = 1024**3
_MAX_WORD: Final = 63
_OTHER = re.compile(r"[^A-Za-z0-9._-]+")


def device_class(arch: str, processor: str, cores: int) -> str:
    """What decides a machine's speed, as one text: ``x86_64 AMD EPYC 7B13 2``.

    Figures of one machine may stand for another of the same class.

    Args:
        arch: ``x86_64``, ``aarch64``, …
        processor: As the kernel names it; blanks are made one.
        cores: That programs may use.
    """
    return " ".join((arch or "unknown", *(processor.split() or ["unknown"]), str(cores)))


def useful_features(flags: Collection[str]) -> tuple[str, ...]:
    """Those flags that matter to llama.cpp, in a fixed order."""
    return tuple(name for name in CPU_FEATURES if name in flags)


def device_facts(
    *, arch: str, processor: str, cores: int, memory_bytes: int, features: Collection[str]
) -> dict[str, str]:
    """Facts of a device for selectors, beside its labels.

    ``arch``; ``processor`` (its name with ``-`` for what labels may not hold); ``cores``;
    ``cpu.FLAG=yes`` for each flag of :data:`CPU_FEATURES`; ``memory.NGiB=yes`` for each of
    :data:`MEMORY_CLASSES_GIB` that it reaches.
    What it has not is left out, so ``!=yes`` finds it.
    """
    facts = {"arch": arch, "processor": processor_word(processor), "cores": str(cores)}
    facts |= {f"cpu.{name}": "yes" for name in useful_features(features)}
    facts |= {f"memory.{size}GiB": "yes" for size in MEMORY_CLASSES_GIB if has_memory(memory_bytes, size)}
    return {key: value for key, value in facts.items() if value and value != "0"}


def has_memory(memory_bytes: int, size_gib: int) -> bool:
    """Whether a machine counts as one with so much memory."""
    return memory_bytes >= KEPT_BACK * size_gib * _GIB


def memory_class(memory_bytes: int) -> int:
    """The largest of :data:`MEMORY_CLASSES_GIB` that it reaches; 0 below the least."""
    return max((size for size in MEMORY_CLASSES_GIB if has_memory(memory_bytes, size)), default=0)


def processor_word(processor: str) -> str:
    """A processor's name as a label's value: ``AMD-EPYC-7B13``; empty when there is none."""
    return _OTHER.sub("-", processor)[:_MAX_WORD].strip("-._")


def is_fact(key: str) -> bool:
    """Whether a key of a selector is a fact of the device, which no label can overrule."""
    return key in ("arch", "processor", "cores") or key.startswith(("cpu.", "memory."))

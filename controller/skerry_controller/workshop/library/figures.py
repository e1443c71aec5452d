"""What was measured of a model: on which machine, with what, when, how often, with what spread."""

from typing import Literal

import msgspec

Kind = Literal["speed", "load", "memory", "energy", "quality", "questions"]


class Machine(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where it was measured. Figures of machines with the same ``device_class`` may stand for each other.

    Attributes:
        name: A host name, or a device's id.
        device_class: What decides speed: architecture, processor, cores, such as ``x86_64 AMD EPYC 2``
            (``skerry_protocol.device_facts.device_class``).
        arch: ``x86_64``, ``aarch64``, …
        processor: As the kernel names it.
        cores: That this process may use.
        features: Of the processor that llama.cpp has kernels for: ``avx2``, ``avx512f``, ``dotprod``, …
        memory_bytes: Of the machine.
        device: The fleet device's id where a device measured; None for a machine of the operator's.
    """

    name: str
    device_class: str
    arch: str
    processor: str
    cores: int
    features: tuple[str, ...] = ()
    memory_bytes: int = 0
    device: str | None = None


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure.

    Attributes:
        name: ``generation_tok_s``, ``prompt_tok_s``, ``first_token_ms``, ``load_cold_ms``, ``load_warm_ms``,
            ``rss_bytes``, ``predicted_bytes``, ``joules_per_token``, ``perplexity``, ``kl_divergence``,
            ``same_top_share``, ``answers_right_share``, …
        unit: ``tok/s``, ``ms``, ``B``, ``J``, ``1``.
        median: Of the repetitions.
        low: The least of them.
        high: The largest of them.
        repetitions: How many.
        at: The point where it was measured: ``threads``, ``batch``, ``depth``, ``context``.
    """

    name: str
    unit: str
    median: float
    low: float
    high: float
    repetitions: int = 1
    at: dict[str, int] = {}


class Figures(msgspec.Struct, frozen=True, omit_defaults=True):
    """A set of figures of one model, from one run on one machine.

    Attributes:
        sha256: Digest of the model's file.
        kind: What was measured.
        machine: Where.
        versions: ``skerry``, ``llama_cpp_python``, ``llama_cpp``, ``python``, ``kernel``.
        measured_at: ISO 8601 in UTC.
        figures: The values.
        parent_sha256: What quality was compared with; None without a comparison.
        corpus: Name and digest of the text or the questions; None where there are none.
        notes: What a reader has to know ("the machine was busy", "thermally throttled").
    """

    sha256: str
    kind: Kind
    machine: Machine
    versions: dict[str, str]
    measured_at: str
    figures: tuple[Figure, ...]
    parent_sha256: str | None = None
    corpus: str | None = None
    notes: tuple[str, ...] = ()

    def find(self, name: str, **at: int) -> Figure | None:
        """The figure of that name at that point (of which only what is given matters); None without one."""
        for figure in self.figures:
            if figure.name == name and all(figure.at.get(k) == v for k, v in at.items()):
                return figure
        return None

"""Entries and figures of the workshop, made up."""

import hashlib
from typing import Any, get_args

from skerry_controller.workshop.library import Entry, Figure, Figures, Licence, Lineage, Machine, Origin
from skerry_controller.workshop.library.figures import Kind
from skerry_protocol.device_facts import device_class
from skerry_protocol.model_description import ModelDescription, parameter_class

MIB = 1024 * 1024
AT = "2026-11-25T05:00:00Z"
EPYC = device_class("x86_64", "AMD EPYC", 2)
PI = device_class("aarch64", "Raspberry Pi 5", 4)


def description(quantization: str = "Q8_0", **changes: Any) -> ModelDescription:
    values: dict[str, Any] = {
        "architecture": "llama",
        "name": "Small",
        "licence": "apache-2.0",
        "parameters": 134_515_008,
        "quantization": quantization,
        "dominant_tensor_type": quantization.removesuffix("_M"),
        "tensor_bytes": {quantization: 100 * MIB},
        "weights_bytes": 100 * MIB,
        "context_length": 8192,
        "embedding_length": 576,
        "feed_forward_length": 1536,
        "block_count": 30,
        "head_count": 9,
        "tokenizer": "gpt2",
        "vocabulary_size": 49152,
        "has_chat_template": True,
        "kv_bytes_per_token": 23040,
    }
    values |= changes
    values["parameter_class"] = parameter_class(values["parameters"])
    return ModelDescription(**values)


def entry(
    name: str = "small@1-q8_0", *, length: int = 138 * MIB, parent: Entry | None = None, **changes: Any
) -> Entry:
    """An entry; what is not a field of it goes into its description."""
    own, version = name.split("@")
    fields = {
        key: changes.pop(key) for key in ("licence", "family", "tensor_types", "sha256") if key in changes
    }
    changes.setdefault("weights_bytes", length - MIB)
    lineage = None
    if parent is not None:
        lineage = Lineage(
            str(parent.ref), parent.sha256, "quantize", "llama.cpp", {"type": changes.get("quantization")}
        )
    fields.setdefault("sha256", hashlib.sha256(name.encode()).hexdigest())
    fields.setdefault("licence", Licence("Apache-2.0", source="header"))
    return Entry(
        name=own,
        version=version,
        length=length,
        added_at=AT,
        origin=Origin(
            "quantized" if parent else "file", str(parent.ref) if parent else "/models/small.gguf", AT
        ),
        description=description(**changes),
        lineage=lineage,
        **fields,
    )


def machine(device_class: str = EPYC, name: str = "bench-1", **changes: Any) -> Machine:
    arch, *processor, cores = device_class.split()
    return Machine(name, device_class, arch, " ".join(processor), int(cores), **changes)


def figures(
    of: Entry, kind: str, *values: Figure, on: Machine | None = None, corpus: str | None = None, at: str = AT
) -> Figures:
    assert kind in get_args(Kind)
    versions = {"skerry": "0.1.0", "llama_cpp_python": "0.3.36"}
    return Figures(of.sha256, kind, on or machine(), versions, at, values, corpus=corpus)  # type: ignore[arg-type]


def figure(name: str, value: float, unit: str = "1", *, spread: float = 0.0, **at: int) -> Figure:
    return Figure(name, unit, value, value * (1 - spread), value * (1 + spread), 5, at)


def speed(
    of: Entry, tok_s: float, *, prompt: float = 0.0, on: Machine | None = None, at: str = AT
) -> Figures:
    values = [
        figure("generation_tok_s", tok_s, "tok/s", spread=0.05, threads=2, batch=1, depth=0),
        figure("generation_tok_s", tok_s / 2, "tok/s", threads=1, batch=1, depth=0),
        figure("generation_tok_s", tok_s * 3, "tok/s", threads=2, batch=8, depth=0),
    ]
    if prompt:
        values.append(figure("prompt_tok_s", prompt, "tok/s", threads=2, batch=256, depth=0))
    return figures(of, "speed", *values, on=on, at=at)


def quality(
    of: Entry, perplexity: float, *, answers: float | None = None, corpus: str = "walden@1"
) -> Figures:
    values = [figure("perplexity", perplexity)]
    if answers is not None:
        values.append(figure("answers_right_share", answers))
    return figures(of, "quality", *values, corpus=corpus)


def memory(of: Entry, *points: tuple[int, int], on: Machine | None = None) -> Figures:
    values = (figure("rss_bytes", size * MIB, "B", context=context) for context, size in points)
    return figures(of, "memory", *values, on=on)

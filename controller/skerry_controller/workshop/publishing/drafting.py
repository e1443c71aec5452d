"""Acceptance checks from what was measured, with margins. Pure."""

import math
from collections.abc import Mapping, Sequence

import msgspec

from skerry_controller.workshop.comparing.reading import (
    Reading,
    Subject,
    device_classes,
    generation_speed,
    least,
    machines,
)
from skerry_controller.workshop.library import Machine
from skerry_controller.workshop.publishing.margins import Margins
from skerry_protocol.acceptance import Acceptance, AcceptanceCheck, PerplexityLimit
from skerry_protocol.device_facts import device_facts, is_fact
from skerry_protocol.model_description import DEFAULT_CONTEXT_TOKENS
from skerry_protocol.selectors import Selector

CHECK_TOKENS = 32
"""Enough that a rate can be measured, few enough for a small board."""
_MIB = 1024 * 1024


class Draft(msgspec.Struct, frozen=True, omit_defaults=True):
    """Acceptance checks, and where each number comes from.

    Attributes:
        acceptance: The checks.
        reasons: By field, a sentence.
        missing: What could not be asked, and why.
    """

    acceptance: Acceptance
    reasons: dict[str, str] = {}
    missing: tuple[str, ...] = ()


def draft_acceptance(
    subject: Subject, selector: str, margins: Margins, device_class: str | None = None
) -> Draft:
    """What a model should show on each device that gets it.

    Floors and ceilings are of the slowest class of machines that the selector matches and where the model was
    measured: a device that is no worse than that passes.

    Args:
        subject: The model and its figures.
        selector: For which devices.
        margins: How much worse they may be.
        device_class: Only figures of this class count.
    """
    classes = [device_class] if device_class is not None else classes_for([subject], selector)
    reasons: dict[str, str] = {}
    missing: list[str] = []
    speed = _worst([generation_speed(subject, name) for name in classes], lowest=True)
    floor = None
    if speed is None:
        where = f"where {selector!r} matches" if selector else "anywhere"
        missing.append(f"no floor for speed: it was not measured {where} ('skerry model bench')")
    else:
        floor = _significant(speed.low * (1 - margins.speed / 100))
        if not selector:
            missing.append("the floor for speed is asked of all devices: give slower classes a variant")
        reasons["min_tokens_per_s"] = f"{margins.speed:g} % below {speed.low:.3g} tok/s {_where(speed)}"
    first = _worst([least(subject, "first_token_ms", name) for name in classes], lowest=False)
    ceiling = None
    if first is None:
        missing.append("no ceiling for the first token: it was not measured")
    else:
        ceiling = _significant(first.high * (1 + margins.first_token / 100))
        reasons["max_first_token_ms"] = f"{margins.first_token:g} % above {first.high:.3g} ms {_where(first)}"
    described = subject.entry.description
    context = min(DEFAULT_CONTEXT_TOKENS, described.context_length or DEFAULT_CONTEXT_TOKENS)
    need = described.estimate_memory_bytes(context_tokens=context)
    most = math.ceil(need * (1 + margins.memory / 100) / _MIB) * _MIB
    reasons["max_memory_bytes"] = (
        f"{margins.memory:g} % above {need / _MIB:.0f} MiB, predicted for a context of {context} tokens"
    )
    reasons["perplexity"] = "above the version that serves, on the device's own text"
    acceptance = Acceptance(
        checks=(AcceptanceCheck(prompt="Name three colours of the rainbow.", max_tokens=CHECK_TOKENS),),
        min_tokens_per_s=floor,
        max_first_token_ms=ceiling,
        max_memory_bytes=most,
        perplexity=PerplexityLimit(max_increase_percent=margins.perplexity),
    )
    return Draft(acceptance, reasons, tuple(missing))


def classes_for(subjects: Sequence[Subject], selector: str) -> list[str]:
    """Measured classes of machines that a selector matches by their facts; its labels do not count."""
    wanted = Selector.parse(selector)
    return [
        name
        for name in device_classes(subjects)
        if any(_matches(wanted, machine_facts) for machine_facts in map(_facts, machines(subjects, name)))
    ]


def draft_toml(draft: Draft) -> str:
    """The draft as a file for ``--acceptance``, with its reasons as comments."""
    asked = draft.acceptance
    lines = [f"# {each}" for each in draft.missing]
    for name in ("min_tokens_per_s", "max_first_token_ms", "max_memory_bytes"):
        value = getattr(asked, name)
        if value is not None:
            lines.append(f"{name} = {value}  # {draft.reasons[name]}")
    if asked.perplexity is not None:
        lines += ["", "[perplexity]"]
        percent, why = asked.perplexity.max_increase_percent, draft.reasons["perplexity"]
        lines.append(f"max_increase_percent = {percent}  # {why}")
    for check in asked.checks:
        prompt = msgspec.json.encode(check.prompt).decode()
        lines += ["", "[[checks]]", f"prompt = {prompt}", f"max_tokens = {check.max_tokens}"]
    return "\n".join(lines) + "\n"


def _matches(selector: Selector, facts: Mapping[str, str]) -> bool:
    """Labels are not known of a machine that is no device."""
    return all(term.matches(facts) for term in selector.terms if is_fact(term.key))


def _facts(machine: Machine) -> dict[str, str]:
    return device_facts(
        arch=machine.arch,
        processor=machine.processor,
        cores=machine.cores,
        memory_bytes=machine.memory_bytes,
        features=machine.features,
    )


def _worst(readings: Sequence[Reading | None], *, lowest: bool) -> Reading | None:
    found = [reading for reading in readings if reading is not None]
    if not found:
        return None
    return min(found, key=lambda r: r.low) if lowest else max(found, key=lambda r: r.high)


def _where(reading: Reading) -> str:
    return f"on {reading.device_class} ({reading.machine}, {reading.measured_at[:10]})"


def _significant(value: float) -> float:
    """Three digits: more would pretend."""
    return float(f"{value:.3g}")

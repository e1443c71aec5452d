"""What ``skerry model advise`` shows a person."""

from collections.abc import Iterator, Sequence

import msgspec

from skerry_controller.cli.output import format_bytes, print_line, print_note, print_table
from skerry_controller.workshop.choosing import Advice, Candidate, DeviceGroup

_NAMED = 3


class GroupAdvice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Advice for devices of one class; ``group`` is None for one that was given in numbers."""

    advice: Advice
    group: DeviceGroup | None = None


def print_advice(answers: Sequence[GroupAdvice]) -> None:
    """For each class: what fits, best first; why the rest does not; what could be made."""
    for number, answer in enumerate(answers):
        if number:
            print_line("")
        _print_one(answer.advice, answer.group)
    options = variant_options(answers)
    if options:
        print_note(f"one version for all of them: skerry model publish NAME@VERSION {' '.join(options)}")


def variant_options(answers: Sequence[GroupAdvice]) -> list[str]:
    """Options of ``publish`` that give each class its best; none for one class, or where nothing fits one."""
    options = []
    for answer in answers:
        best = next((c for c in answer.advice.candidates if c.rank == 1), None)
        if answer.group is None or best is None:
            return []
        options.append(f"--variant '{answer.group.selector}:{best.ref}'")
    return options if len(options) > 1 else []


def _print_one(advice: Advice, group: DeviceGroup | None) -> None:
    wishes = advice.wishes
    whose = f"for {wishes.device_class or 'any machine, since none was measured'}"
    print_line(whose if group is None else f"{whose}: {_names(group)}")
    fitting = [c for c in advice.candidates if c.rank is not None]
    quality = "QUALITY" if advice.scale is None else advice.scale.name.upper().replace("_", " ")
    columns = ("", "MODEL", "TYPE", "FILE", "MEMORY", "TOK/S", quality, "")
    print_table(columns, [_row(c) for c in fitting], empty="nothing in the library fits")
    if fitting:
        print_note(f"ranked by {advice.ranked_by}")
    for candidate in fitting:
        if candidate.speed is not None and candidate.speed.how == "predicted":
            print_note(f"{candidate.ref}: speed predicted {candidate.speed.why}")
    for candidate in advice.candidates:
        for rejection in candidate.rejections:
            print_line(f"not {candidate.ref}: {rejection.message}")
    for line in _suggestions(advice):
        print_note(line)


def _row(candidate: Candidate) -> tuple[object, ...]:
    speed, quality = candidate.speed, candidate.quality
    marks = (("front", candidate.front), ("speed unproven", not candidate.proven))
    return (
        candidate.rank,
        candidate.ref,
        candidate.quantization,
        format_bytes(candidate.length),
        f"{format_bytes(round(candidate.memory.value))} {candidate.memory.how}",
        "not measured" if speed is None else f"{speed.value:.3g} {speed.how}",
        None if quality is None else f"{quality.value:.4g}",
        ", ".join(name for name, true in marks if true),
    )


def _suggestions(advice: Advice) -> Iterator[str]:
    for each in advice.suggestions:
        if each.fits:
            file, memory = format_bytes(each.predicted_length), format_bytes(each.predicted_memory_bytes)
            predicted = f"file {file}, memory {memory} predicted, speed unknown until measured"
            lossy = (
                "; its parent is quantized already, so both losses add up" if each.parent_quantized else ""
            )
            best = "; the most bits that fit" if each.best else ""
            yield f"not made yet: {each.command} ({predicted}{lossy}{best})"


def _names(group: DeviceGroup) -> str:
    shown = ", ".join(group.devices[:_NAMED])
    more = len(group.devices) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown

"""``skerry model advise``: the work behind the options."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry_controller.artifacts.mapped_model import mapped_model
from skerry_controller.cli.advice_text import GroupAdvice
from skerry_controller.cli.client import work
from skerry_controller.cli.comparing import draw_all
from skerry_controller.cli.model_frame import opened_library
from skerry_controller.errors import NotFoundError, UsageError
from skerry_controller.workshop.choosing import (
    DeviceGroup,
    Wishes,
    advise,
    group_devices,
    reported_figures,
    suggest,
)
from skerry_controller.workshop.choosing.fleet import AGENT_SHARE
from skerry_controller.workshop.choosing.predicted_size import predict_length
from skerry_controller.workshop.choosing.wishes import Task
from skerry_controller.workshop.comparing import Subject
from skerry_controller.workshop.comparing.reading import device_classes
from skerry_controller.workshop.library import Entry, Library
from skerry_controller.workshop.library.filters import EntryFilter
from skerry_protocol.gguf_header import read_gguf_header


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person asks."""

    memory_bytes: int | None
    disk_bytes: int | None
    min_tok_s: float | None
    task: Task
    context_tokens: int
    device: str | None
    selector: str | None
    device_class: str | None
    wanted: EntryFilter


def advise_all(
    question: Question, charts: Path | None, controller: Path | None, data: Path | None
) -> list[GroupAdvice]:
    """Advice for each class of machines that is asked for.

    Raises:
        ControllerError: The library is empty, there is no such device, or a folder refused.
    """
    views = _devices(question, controller)
    groups: list[DeviceGroup | None] = [None] if views is None else [*group_devices(views)]
    measured = {} if views is None else reported_figures(views)
    answers = []
    with opened_library(data, read_only=True) as library:
        entries = library.entries()
        if not entries:
            raise UsageError("the library is empty: 'skerry model import' fills it")
        everything = [Subject(e, [*measured.get(e.sha256, ()), *library.figures(e)]) for e in entries]
        subjects = [subject for subject in everything if question.wanted.matches(subject.entry)]
        if not subjects:
            raise UsageError("no model of the library is like that: 'skerry model list' shows all")
        known = {str(entry.ref): entry for entry in entries}
        for group in groups:
            wishes = _wishes(question, group, everything)
            suggested = suggest([s.entry for s in subjects], wishes, _predictor(library), known)
            advice = advise(subjects, wishes, known, suggested, measured=everything)
            answers.append(GroupAdvice(advice, group))
            if charts is not None and advice.chart is not None:
                draw_all([advice.chart], charts if len(groups) == 1 else charts / f"class-{len(answers)}")
    return answers


def _devices(question: Question, controller: Path | None) -> list[Mapping[str, Any]] | None:
    if question.device is None and question.selector is None:
        if controller is not None:
            raise UsageError("--controller is asked about devices: say which with --device or --selector")
        return None
    if question.device is not None and question.selector is not None:
        raise UsageError("give --device or --selector, not both")
    if question.device_class is not None:
        raise UsageError("the devices' own class counts: leave --device-class out")
    if question.device is not None:
        device = question.device
        return [work(controller, lambda client: client.get(f"/devices/{device}"))]
    found: list[Mapping[str, Any]] = work(
        controller, lambda client: client.get("/devices", selector=question.selector)
    )
    return found


def _wishes(question: Question, group: DeviceGroup | None, measured: Sequence[Subject]) -> Wishes:
    classes = device_classes(measured)
    if question.device_class is not None and question.device_class not in classes:
        there = ", ".join(f"{name!r}" for name in classes) or "none at all: 'skerry model bench' makes some"
        raise NotFoundError(
            f"nothing was measured on {question.device_class!r}; there are figures of {there}"
        )
    own = question.device_class or next(iter(classes), None)
    memory, whence = question.memory_bytes, "given"
    if memory is None and group is not None and group.memory_bytes:
        memory = round(AGENT_SHARE * group.memory_bytes)
        whence = "is what an agent takes at most, four fifths of the device's memory"
    disk = question.disk_bytes
    if disk is None and group is not None and group.disk_bytes:
        disk = group.disk_bytes
    return Wishes(
        device_class=own if group is None else group.device_class,
        memory_bytes=memory,
        memory_from=whence,
        disk_bytes=disk,
        min_tok_s=question.min_tok_s,
        task=question.task,
        context_tokens=question.context_tokens,
    )


def _predictor(library: Library) -> Callable[[Entry, str], int]:
    def predict(entry: Entry, quantization: str) -> int:
        with mapped_model(library.path(entry)) as data:
            return predict_length(read_gguf_header(data), quantization)

    return predict

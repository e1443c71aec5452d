"""How well a model predicts a text and answers questions, and how far it is from what it was made of."""

import hashlib
from importlib import resources
from typing import Final

import msgspec

from skerry_controller.clock import Clock, utc_now
from skerry_controller.workshop.child import run_child
from skerry_controller.workshop.library import Entry, Figures, Library
from skerry_controller.workshop.measuring.bench import as_figures
from skerry_controller.workshop.measuring.eval_job import EvalJob, EvalResult
from skerry_controller.workshop.measuring.machine import usable_cores
from skerry_controller.workshop.measuring.questions import Question
from skerry_controller.workshop.progress import Progress, StopSign, silent

WINDOW_TOKENS: Final = 256
QUICK_WINDOWS: Final = 1
QUICK_QUESTIONS: Final = 10


def evaluate_model(
    library: Library,
    entry: Entry,
    *,
    against: Entry | None = None,
    quick: bool = False,
    progress: Progress = silent,
    stop: StopSign | None = None,
    clock: Clock = utc_now,
) -> list[Figures]:
    """Measure quality, and keep the figures in the library.

    Low and high of each figure bound its 95 % interval.

    Raises:
        UsageError: The two read the text as other tokens.
        PeerError: llama.cpp does not take a file.
        WorldError: The child crashed, or there is no memory.
        StoppedError: It was asked to stop; nothing was kept.
    """
    text, questions = bundled_text(), bundled_questions()
    if quick:
        questions = questions[:: len(questions) // QUICK_QUESTIONS]
    job = EvalJob(
        path=str(library.path(entry)),
        parent=str(library.path(against)) if against is not None else None,
        text=text,
        window=min(WINDOW_TOKENS, entry.description.context_length),
        most=QUICK_WINDOWS if quick else None,
        questions=questions,
        threads=usable_cores(),
    )
    module = "skerry_controller.workshop.measuring.eval_child"
    result = run_child(module, job, EvalResult, progress=progress, stop=stop or StopSign())
    size = "quick" if quick else "whole"
    quality = as_figures(
        entry,
        "quality",
        result.quality,
        notes=_notes(entry, against),
        clock=clock,
        parent_sha256=against.sha256 if against is not None else None,
        corpus=f"skerry-text, {size} ({_digest(text)})",
    )
    asked = f"skerry-questions, {size} ({_digest(msgspec.json.encode(questions))})"
    answers = as_figures(entry, "questions", result.questions, clock=clock, corpus=asked)
    for figures in (quality, answers):
        library.record(figures)
    return [quality, answers]


def bundled_text() -> str:
    """Beginnings of works in the public domain: Dickens, Austen, Doyle, Wells, Twain, and a declaration."""
    return _file("text.txt").decode()


def bundled_questions() -> tuple[Question, ...]:
    """Questions of general knowledge, each with its answers."""
    return msgspec.json.decode(_file("questions.json"), type=tuple[Question, ...])


def _file(name: str) -> bytes:
    return resources.files("skerry_controller.workshop.measuring.corpus").joinpath(name).read_bytes()


def _digest(content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()[:12]


def _notes(entry: Entry, against: Entry | None) -> tuple[str, ...]:
    notes = []
    if against is not None:
        notes.append(f"compared with {against.ref} ({against.description.quantization})")
    if entry.lineage is not None:
        notes += [warning for warning in entry.lineage.warnings if "quantized already" in warning]
    return tuple(notes)

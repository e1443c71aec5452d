"""What the child that measures quality gets, and what it gives back."""

import msgspec

from skerry_controller.workshop.library import Figure
from skerry_controller.workshop.measuring.questions import Question


class EvalJob(msgspec.Struct, frozen=True):
    """What to score.

    Attributes:
        path: The model's file.
        parent: The file of what it was made of; None compares with nothing.
        text: To score.
        window: Tokens of a window.
        most: No more windows than that; None for all.
        questions: To ask.
        threads: Threads.
    """

    path: str
    parent: str | None
    text: str
    window: int
    most: int | None
    questions: tuple[Question, ...]
    threads: int


class EvalResult(msgspec.Struct, frozen=True):
    """Figures of the text, and of the questions."""

    quality: tuple[Figure, ...]
    questions: tuple[Figure, ...]

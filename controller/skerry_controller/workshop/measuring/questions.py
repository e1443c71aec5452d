"""Questions with exact answers, and when an answer counts as right. Pure."""

from typing import Final

import msgspec

EXAMPLES: Final = (
    ("What is the capital of Portugal?", "Lisbon"),
    ("How many legs does a dog have?", "4"),
    ("What is the opposite of slow?", "fast"),
)
MAX_ANSWER_TOKENS: Final = 12
_AROUND: Final = " \t.,;:!?'\"*_`()[]"


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A question, and the answers that count, in lower case."""

    question: str
    answers: tuple[str, ...]


def prompt_of(question: str) -> str:
    """The same plain text for all models, with or without a chat template: examples, then the question."""
    shown = "".join(f"Question: {asked}\nAnswer: {answer}\n\n" for asked, answer in EXAMPLES)
    return f"{shown}Question: {question}\nAnswer:"


def is_right(text: str, question: Question) -> bool:
    """Whether the first line of a text is one of the answers, but for case, marks around it and "the"."""
    line = text.strip().partition("\n")[0].strip(_AROUND).lower()
    return line in question.answers or line.removeprefix("the ") in question.answers

"""What a chat answer is made of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Content:
    """Text for the reader."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Text that the model thought aloud."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for; ``arguments`` is JSON text of an object."""

    name: str
    arguments: str


Piece = Content | Reasoning | ToolCall


def partial_suffix(text: str, tag: str) -> int:
    """How many characters at the end of ``text`` may be the beginning of ``tag``; the whole tag is not."""
    for length in range(min(len(text), len(tag) - 1), 0, -1):
        if tag.startswith(text[-length:]):
            return length
    return 0

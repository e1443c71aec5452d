"""Generations order desired states: (epoch, number)."""

from typing import Literal, Self

from skerry_protocol.codec import Part
from skerry_protocol.numbers import Whole

Verdict = Literal["newer", "same", "older", "conflict"]


class Generation(Part, frozen=True, order=True):
    """(epoch, number). The epoch comes from the trust document, the number from the database."""

    epoch: Whole
    number: Whole

    def next(self) -> Self:
        """The generation after this one, within the epoch."""
        return type(self)(epoch=self.epoch, number=self.number + 1)

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}"


class GenerationMark(Part, frozen=True):
    """A generation and the SHA-256 of the desired state that carried it."""

    generation: Generation
    sha256: str


ZERO = Generation(epoch=0, number=0)


def compare(held: GenerationMark | None, offered: GenerationMark) -> Verdict:
    """How an offered desired state stands to the one that a device holds.

    Only ``newer`` is followed. ``older`` is a replay; ``conflict`` (equal generation, other bytes)
    means that a director signed two states under one number: refused, and shown.
    """
    if held is None or offered.generation > held.generation:
        return "newer"
    if offered.generation < held.generation:
        return "older"
    return "same" if offered.sha256 == held.sha256 else "conflict"

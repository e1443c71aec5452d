"""Points of the walk: an operation of the update path, and what happens there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

KINDS: Final = (
    "kill",
    "kill_halfway",
    "lost",
    "names_only",
    "zeros",
    "content_only",
    "mixed",
    "ENOSPC",
    "EIO",
    "EROFS",
)
"""SIGKILL before an operation, or in its middle; what a power cut leaves, by the rules of
:mod:`faults.volume`; a disk that is full or read-only from there on, or fails once."""


@dataclass(frozen=True, order=True)
class Point:
    """Where the walk stops.

    Attributes:
        what: One of :data:`KINDS`.
        at: The operation, counted from 1.
    """

    what: str
    at: int

    @property
    def name(self) -> str:
        """For files and addresses."""
        return f"{self.what}-{self.at}"


def plan(operations: Sequence[str], kinds: Sequence[str], sample: int) -> list[Point]:
    """All points of these kinds, or a sample, evenly spread over operations and kinds.

    Args:
        operations: What an undisturbed run does, in words.
        kinds: Of :data:`KINDS`.
        sample: How many; 0 for all.
    """
    if not sample:
        return [
            Point(kind, at)
            for at, operation in enumerate(operations, start=1)
            for kind in kinds
            # Only a write has a middle.
            if kind != "kill_halfway" or operation.startswith("write")
        ]
    return [
        Point(kinds[index % len(kinds)], 1 + index * len(operations) // sample) for index in range(sample)
    ]

"""Points of the walk: an operation of a story, and what happens there."""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

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
    "crowded",
    "kill_again",
    "cut_again",
)
"""SIGKILL before an operation, or in its middle; what a power cut leaves, by the rules of
:mod:`faults.volume`; a disk that is full or read-only from there on, or fails once; one that is full until a
model file was removed; a second kill, or power cut, while the first is recovered from."""
_SECONDS: Final = ("kill_again", "cut_again")
_SHARE_OF_SECONDS: Final = 3
_SHARE_OF_SEEN: Final = 16
_THINNED: Final = ("names_only", "zeros", "content_only", "EIO", "EROFS")
_SHARE_OF_THINNED: Final = 3
_SEED: Final = 20261125
_STRIDE: Final = 5
"""So that each story of a sample begins with another kind."""


class Step(NamedTuple):
    """One operation of an undisturbed run: what is under way when it is done, and what it is."""

    label: str
    told: str


@dataclass(frozen=True, order=True)
class Point:
    """Where the walk stops.

    Attributes:
        story: One of :data:`faults.stories.STORIES`.
        what: One of :data:`KINDS`.
        at: The operation, counted from 1.
    """

    story: str
    what: str
    at: int

    @property
    def name(self) -> str:
        """For files and addresses."""
        return f"{self.story}-{self.what}-{self.at}"


@dataclass(frozen=True)
class Choice:
    """Which points are gone to.

    Attributes:
        kinds: Of :data:`KINDS`.
        sample: So many, evenly spread over stories, operations and kinds; 0 for no sample.
        alike: Also those that are like others.
    """

    kinds: Sequence[str] = KINDS
    sample: int = 0
    alike: bool = False


def plan(stories: Mapping[str, Sequence[Step]], choice: Choice) -> list[Point]:
    """The points to go to.

    Points are alike where the same is under way, and the operation and those before and after it do the
    same to files of the same role. Of those that are alike, the first and the last of a story are gone to;
    where an earlier story had them, every sixteenth of these, by lot. Kinds that are much like others are at
    every third of the places of all stories but the first. Second kills and cuts are at every third
    of these operations.
    """
    if choice.sample:
        return list(_sampled(stories, choice))
    points: list[Point] = []
    seen: set[tuple[str, ...]] = set()
    for story, steps in stories.items():
        lot = random.Random(f"{_SEED} {story}")  # noqa: S311 - repeatable
        groups: dict[tuple[str, ...], list[int]] = {}
        for at in range(1, len(steps) + 1):
            groups.setdefault(_likeness(steps, at), []).append(at)
        chosen: list[int] = []
        for likeness, places in groups.items():
            if choice.alike:
                chosen += places
            elif likeness not in seen or lot.randrange(_SHARE_OF_SEEN) == 0:
                chosen += sorted({places[0], places[-1]})
        seen_before = bool(seen)
        seen |= set(groups)
        for at in sorted(chosen):
            second = lot.randrange(_SHARE_OF_SECONDS) == 0
            for kind in _kinds(story, steps[at - 1], choice.kinds, second=second):
                thinned = kind in _THINNED and seen_before and not choice.alike
                if not thinned or lot.randrange(_SHARE_OF_THINNED) == 0:
                    points.append(Point(story, kind, at))
    return points


def _kinds(story: str, step: Step, kinds: Iterable[str], *, second: bool) -> Iterable[str]:
    for kind in kinds:
        # Only a write has a middle, and only there a disk is crowded where something may go.
        if (
            (kind == "kill_halfway" and not step.told.startswith("write"))
            or (kind == "crowded" and story != "garbage")
            or (kind in _SECONDS and not second)
        ):
            continue
        yield kind


def _sampled(stories: Mapping[str, Sequence[Step]], choice: Choice) -> Iterable[Point]:
    rounds = -(-choice.sample // len(stories))
    for index in range(choice.sample):
        turn, number = divmod(index, len(stories))
        story = list(stories)[number]
        kinds = [kind for kind in choice.kinds if kind != "crowded" or story == "garbage"]
        kind = kinds[(turn + number * _STRIDE) % len(kinds)]
        yield Point(story, kind, 1 + turn * len(stories[story]) // rounds)


def _likeness(steps: Sequence[Step], at: int) -> tuple[str, ...]:
    around = [
        _role(steps[place - 1].told) if 0 < place <= len(steps) else "" for place in (at - 1, at, at + 1)
    ]
    return (steps[at - 1].label, *around)


def _role(told: str) -> str:
    """An operation without the digests, numbers and random names of its files."""
    return re.sub(r"[0-9a-f]{8,}|\d+", "#", told)

"""Sets of whole numbers as sorted, disjoint, inclusive ranges: what acknowledgements are made of."""

from collections.abc import Iterable, Iterator

from skerry_protocol.errors import MalformedError

Range = tuple[int, int]


def from_numbers(numbers: Iterable[int]) -> list[Range]:
    """The ranges that hold exactly these numbers."""
    ranges: list[Range] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def union(*parts: Iterable[Range]) -> list[Range]:
    """The ranges that hold what any part holds."""
    merged: list[Range] = []
    for first, last in sorted(r for part in parts for r in part):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def contains(ranges: Iterable[Range], number: int) -> bool:
    """Whether one of the ranges holds the number."""
    return any(first <= number <= last for first, last in ranges)


def count(ranges: Iterable[Range]) -> int:
    """How many numbers the (disjoint) ranges hold."""
    return sum(last - first + 1 for first, last in ranges)


def numbers(ranges: Iterable[Range]) -> Iterator[int]:
    """Every number of the ranges, in order."""
    for first, last in ranges:
        yield from range(first, last + 1)


def check(ranges: Iterable[Range]) -> list[Range]:
    """Return the ranges as a list when they are sorted, disjoint and not negative.

    Raises:
        MalformedError: They are not.
    """
    checked = list(ranges)
    previous = -1
    for first, last in checked:
        if first <= previous or last < first:
            raise MalformedError(f"ranges are not sorted and disjoint at {first}-{last}")
        previous = last
    return checked

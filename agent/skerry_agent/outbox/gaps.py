"""What is left of ranges when others are taken out: the outbox's side of an acknowledgement."""

from collections.abc import Iterable

from skerry_protocol.ranges import Range


def subtract(ranges: Iterable[Range], taken: Iterable[Range]) -> list[Range]:
    """The numbers of ``ranges`` that ``taken`` does not hold. Both are sorted and disjoint."""
    left: list[Range] = []
    cuts = list(taken)
    start = 0
    for first, last in ranges:
        while start < len(cuts) and cuts[start][1] < first:
            start += 1
        position = first
        for cut_first, cut_last in cuts[start:]:
            if cut_first > last:
                break
            if cut_first > position:
                left.append((position, cut_first - 1))
            position = max(position, cut_last + 1)
        if position <= last:
            left.append((position, last))
    return left

"""The Pareto front: what nothing else beats in both respects."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point is on the front; larger is better in both coordinates.

    A point is off the front when another one is at least as good in both and better in one. Equal points are
    on it together. O(n log n).
    """
    on = [False] * len(points)
    best, best_x = float("-inf"), float("inf")
    for index in sorted(range(len(points)), key=lambda i: (-points[i][0], -points[i][1])):
        x, y = points[index]
        if y > best:
            on[index], best, best_x = True, y, x
        elif y == best and x == best_x:
            on[index] = True
    return on

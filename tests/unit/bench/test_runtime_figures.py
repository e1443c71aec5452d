"""How the runtime bench judges what it measured."""

import pytest

from bench.runtime.figures import Figures, Goal, shown
from bench.runtime.skerry import parse_metrics

RATIO = Goal("speed", "speed", "tok/s", least=1.0, rival="other")
WITH_SPREAD = Goal("speed", "speed", "tok/s", least=1.0, rival="other", spread=True)


def measured(ours: list[float], others: list[float]) -> Figures:
    figures = Figures()
    for peer, values in (("skerry", ours), ("other", others)):
        for number, value in enumerate(values):
            figures.add("speed", "model", peer, number, value)
    return figures


@pytest.mark.parametrize(
    ("goal", "ours", "others", "verdict"),
    [
        (RATIO, [11.0, 9.0, 12.0], [10.0, 10.0, 10.0], "met"),
        (RATIO, [11.0, 9.0, 9.0], [10.0, 10.0, 10.0], "missed"),
        (WITH_SPREAD, [11.0, 9.0, 9.0], [10.0, 10.0, 10.0], "within the spread"),
        (WITH_SPREAD, [9.0, 9.5, 9.0], [10.0, 10.0, 10.0], "missed"),
        (RATIO, [], [10.0], "not measured"),
        (RATIO, [10.0], [], "not measured"),
        (Goal("speed", "", "", most=5.0), [4.0, 5.0, 9.0], [], "met"),
        (Goal("speed", "", "", most=5.0), [4.0, 6.0, 9.0], [], "missed"),
    ],
)
def test_a_goal_is_judged_by_the_median(
    goal: Goal, ours: list[float], others: list[float], verdict: str
) -> None:
    assert goal.judge(measured(ours, others), "model").verdict == verdict


def test_ratios_are_of_the_same_round() -> None:
    figures = measured([10.0, 30.0], [])
    figures.add("speed", "model", "other", 1, 20.0)
    assert RATIO.judge(figures, "model").values == [1.5]


def test_a_median_is_shown_with_its_spread() -> None:
    assert shown([3.0, 1.0, 2.0], "s") == "2.00 [1.00-3.00] s"
    assert shown([250.0]) == "250"


def test_metrics_are_added_up_over_their_labels() -> None:
    text = '# HELP x Help.\n# TYPE x counter\nx{model="a b"} 1\nx{model="c"} 2.5\ny 3\n'
    assert parse_metrics(text) == {"x": 3.5, "y": 3.0}

from typing import Any

import pytest

from skerry_agent.sync.desired import Refusal, judge
from skerry_protocol.desired import DesiredState
from skerry_protocol.generation import Generation, GenerationMark
from support.scripted_controller import NOW

DEVICE = "d-aaaaaaaaaaaaaaaa"


def mark(epoch: int, number: int, content: str = "a") -> GenerationMark:
    return GenerationMark(generation=Generation(epoch=epoch, number=number), sha256=content * 64)


def state(offered: GenerationMark, **changes: Any) -> DesiredState:
    values: dict[str, Any] = {"device": DEVICE, "id": "x", "issued_at": NOW, "expires_at": NOW + 60} | changes
    return DesiredState(generation=offered.generation, **values)


@pytest.mark.parametrize(
    ("offered", "held", "changes", "verdict"),
    [
        pytest.param(mark(1, 1), None, {}, "follow", id="the first one"),
        pytest.param(mark(1, 6), mark(1, 5), {}, "follow", id="a higher number"),
        pytest.param(mark(2, 1), mark(1, 99), {"trust": 2}, "follow", id="a higher epoch resets numbers"),
        pytest.param(mark(2, 1), mark(1, 99), {}, "epoch_ahead", id="an epoch that no offline key raised"),
        pytest.param(mark(2, 1), None, {}, "epoch_ahead", id="the same on a device without a state"),
        pytest.param(mark(1, 9), mark(1, 5), {"trust": 2}, "older_generation", id="an epoch that is over"),
        pytest.param(mark(1, 9), None, {"trust": 2}, "older_generation", id="the same without a state"),
        pytest.param(mark(1, 5), mark(1, 5), {"trust": 2}, "same", id="the same again after a new epoch"),
        pytest.param(mark(1, 5), mark(1, 5), {}, "same", id="the same again"),
        pytest.param(
            mark(1, 5), mark(1, 5), {"expires_at": NOW - 1}, "same", id="the same again, expired meanwhile"
        ),
        pytest.param(mark(1, 4), mark(1, 5), {}, "older_generation", id="a replay"),
        pytest.param(
            mark(1, 99), mark(2, 1), {"trust": 2}, "older_generation", id="a replay from an earlier epoch"
        ),
        pytest.param(mark(1, 5, "b"), mark(1, 5), {}, "generation_conflict", id="two under one number"),
        pytest.param(mark(1, 6), mark(1, 5), {"expires_at": NOW - 1}, "expired", id="too late"),
        pytest.param(
            mark(1, 6),
            mark(1, 5),
            {"issued_at": NOW + 99, "expires_at": NOW + 9},
            "expired",
            id="expired before it was issued",
        ),
        pytest.param(
            mark(1, 6), None, {"device": "d-bbbbbbbbbbbbbbbb"}, "wrong_device", id="another device's"
        ),
    ],
)
def test_verdicts(
    offered: GenerationMark, held: GenerationMark | None, changes: dict[str, Any], verdict: str
) -> None:
    trust = changes.pop("trust", 1)
    found = judge(state(offered, **changes), offered, held, DEVICE, NOW, trust)
    assert (found.code if isinstance(found, Refusal) else found) == verdict


def test_an_older_generation_is_refused_with_both_numbers() -> None:
    found = judge(state(mark(1, 4)), mark(1, 4), mark(1, 5), DEVICE, NOW, 1)
    assert isinstance(found, Refusal)
    assert "1.4" in found.message
    assert "1.5" in found.message

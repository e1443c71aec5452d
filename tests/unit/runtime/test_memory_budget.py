"""Who makes room: tables, and properties over any set of holders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.runtime.memory_budget import (
    DEMAND_HALF_LIFE_S,
    Budget,
    Demand,
    Holder,
    HolderState,
    RoomPlan,
    Want,
    model_value,
    plan_relief,
    plan_room,
)

BUDGET = Budget(100)


def holder(
    key: str,
    size: int,
    state: HolderState = "idle",
    value: float = 1.0,
    last_used: float = 0.0,
    *,
    last: bool = False,
) -> Holder:
    return Holder(key, size, state, value=value, last_used=last_used, last=last)


@pytest.mark.parametrize(
    ("want", "holders", "plan"),
    [
        pytest.param(100, [], RoomPlan(fits=True), id="an empty device"),
        pytest.param(101, [], RoomPlan(refused=True, available_bytes=100), id="never"),
        pytest.param(40, [holder("a", 60)], RoomPlan(fits=True), id="beside another"),
        pytest.param(50, [holder("a", 60)], RoomPlan(unload=("a",)), id="in its place"),
        pytest.param(
            50,
            [holder("a", 30, value=2), holder("b", 30, value=1)],
            RoomPlan(unload=("b",)),
            id="least value",
        ),
        pytest.param(
            50,
            [holder("a", 30, last_used=1), holder("b", 30, last_used=2)],
            RoomPlan(unload=("a",)),
            id="the longer unused of equals",
        ),
        pytest.param(
            60,
            [holder("a", 10, value=1), holder("b", 60, value=2), holder("c", 20, value=3)],
            RoomPlan(unload=("b",)),
            id="nobody needlessly",
        ),
        pytest.param(50, [holder("a", 60, "busy")], RoomPlan(hold_back=("a",)), id="a busy one, afterwards"),
        pytest.param(
            50,
            [holder("a", 60, "busy", 0.1), holder("b", 40, "idle", 9)],
            RoomPlan(hold_back=("a",)),
            id="a busy one alone, if the idle one is not enough",
        ),
        pytest.param(
            30,
            [holder("a", 40, "busy", 0.1), holder("b", 40, "idle", 9)],
            RoomPlan(unload=("b",)),
            id="an idle one before a busy one, whatever its value",
        ),
        pytest.param(50, [holder("a", 60, "passing")], RoomPlan(), id="one that is leaving"),
        pytest.param(
            50,
            [holder("a", 60, "fixed")],
            RoomPlan(refused=True, available_bytes=40),
            id="a pinned one stays",
        ),
        pytest.param(
            50,
            [holder("old", 60, value=9, last=True), holder("b", 40, value=1)],
            RoomPlan(unload=("old",)),
            id="the replaced one, if others are not enough",
        ),
        pytest.param(
            30,
            [holder("old", 40, value=0, last=True), holder("b", 40, value=9)],
            RoomPlan(unload=("b",)),
            id="the replaced one only then",
        ),
        pytest.param(
            50,
            [holder("old", 60, last=True), holder("b", 60, "busy")],
            RoomPlan(unload=("old",), hold_back=("b",)),
            id="the replaced one before busy ones",
        ),
    ],
)
def test_room_is_made_by(want: int, holders: list[Holder], plan: RoomPlan) -> None:
    assert plan_room(Want(want), holders, BUDGET) == plan


def test_nobody_is_unloaded_for_a_want_that_may_not() -> None:
    plan = plan_room(Want(50, unload=False), [holder("a", 60)], BUDGET)
    assert plan == RoomPlan(refused=True, available_bytes=40)


def test_a_greatest_number_of_models_holds_beside_the_bytes() -> None:
    two = [holder("a", 1, value=2), holder("b", 1, value=1)]
    assert plan_room(Want(1), two, Budget(100, models=3)).fits
    assert plan_room(Want(1), two, Budget(100, models=2)).unload == ("b",)
    assert plan_room(Want(1, counts=False), two, Budget(100, models=2)).fits
    pinned = [holder("a", 1, "fixed")]
    assert plan_room(Want(1), pinned, Budget(100, models=1)) == RoomPlan(refused=True, available_bytes=99)


STATES: list[HolderState] = ["idle", "busy", "passing", "fixed"]
holders_strategy = st.lists(
    st.builds(
        Holder,
        key=st.uuids().map(str),
        bytes=st.integers(0, 200),
        state=st.sampled_from(STATES),
        value=st.floats(0, 100),
        last_used=st.floats(0, 100),
        counts=st.booleans(),
        last=st.just(False),
    ),
    max_size=8,
    unique_by=lambda h: h.key,
)


@given(st.integers(0, 300), holders_strategy, st.integers(0, 500), st.integers(0, 4))
def test_a_plan_never_breaks_the_budget_nor_touches_who_is_in_use(
    size: int, holders: list[Holder], budget_bytes: int, models: int
) -> None:
    want, budget = Want(size), Budget(budget_bytes, models)
    plan = plan_room(want, holders, budget)
    by_key = {h.key: h for h in holders}
    assert all(by_key[key].state == "idle" for key in plan.unload)
    assert all(by_key[key].state == "busy" for key in plan.hold_back)
    gone = {*plan.unload, *plan.hold_back, *(h.key for h in holders if h.state == "passing")}
    left = [h for h in holders if h.key not in gone]
    everything_gone = [h for h in holders if h.state == "fixed"]

    def holds(stay: list[Holder]) -> bool:
        few_enough = not models or sum(h.counts for h in stay) < models
        return sum(h.bytes for h in stay) + size <= budget_bytes and few_enough

    if plan.fits:
        assert holds(holders)
    elif plan.refused:
        assert not holds(everything_gone)
        assert plan.available_bytes == max(0, budget_bytes - sum(h.bytes for h in everything_gone))
    else:
        assert holds(left)
        for key in (*plan.unload, *plan.hold_back):
            assert not holds([*left, by_key[key]]), "it was unloaded needlessly"


@given(holders_strategy, st.integers(0, 500))
def test_relief_takes_idle_ones_alone_and_as_few_as_are_enough(
    holders: list[Holder], budget_bytes: int
) -> None:
    taken = plan_relief(holders, Budget(budget_bytes))
    by_key = {h.key: h for h in holders}
    assert all(by_key[key].state == "idle" for key in taken)
    left = sum(h.bytes for h in holders if h.key not in taken)
    if left > budget_bytes:
        assert set(taken) == {h.key for h in holders if h.state == "idle"}
    else:
        assert all(left + by_key[key].bytes > budget_bytes for key in taken)


def test_demand_counts_requests_and_forgets_by_half() -> None:
    demand = Demand()
    assert demand.at(5) == 0
    demand.count(0)
    demand.count(0)
    assert demand.at(DEMAND_HALF_LIFE_S) == pytest.approx(1)
    demand.count(DEMAND_HALF_LIFE_S)
    assert demand.at(2 * DEMAND_HALF_LIFE_S) == pytest.approx(1)


@pytest.mark.parametrize(
    ("worth_more", "worth_less"),
    [
        pytest.param((2.0, 1.0), (1.0, 1.0), id="slower to load"),
        pytest.param((1.0, 3.0), (1.0, 1.0), id="asked for more often"),
        pytest.param((3.0, 1.0), (1.0, 2.0), id="much slower to load, asked for a little less"),
    ],
)
def test_a_model_is_worth_its_load_times_its_demand(
    worth_more: tuple[float, float], worth_less: tuple[float, float]
) -> None:
    more, less = (model_value(load_s=load_s, demand=demand) for load_s, demand in (worth_more, worth_less))
    assert more > less

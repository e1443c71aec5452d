import pytest

from skerry_controller.fleet.desired import (
    AssignmentView,
    ChannelView,
    ConfigView,
    FleetPlan,
    desired_content,
    slot_for,
)
from skerry_protocol.desired import DesiredSlot, TargetRef
from skerry_protocol.selectors import Selector


def target(version: str, folder: str = "models") -> TargetRef:
    return TargetRef(path=f"{folder}/m/{version}.json", sha256=version * 64, length=1)


ONE, TWO, THREE = target("1"), target("2"), target("3")
LAB = Selector.parse("site=lab")


def channel(current: TargetRef | None = ONE, name: str = "a/b") -> ChannelView:
    return ChannelView(name, LAB, current)


@pytest.mark.parametrize(
    ("current", "assignment", "expected"),
    [
        pytest.param(None, None, None, id="a channel without a version leaves devices alone"),
        pytest.param(ONE, None, DesiredSlot(target=ONE), id="a new device gets the current version"),
        pytest.param(
            ONE,
            AssignmentView(TWO, 4, "r-now"),
            DesiredSlot(target=TWO, attempt=4, rollout="r-now"),
            id="an active rollout decides",
        ),
        pytest.param(
            TWO,
            AssignmentView(TWO, 4, "r-old"),
            DesiredSlot(target=TWO, attempt=4, rollout="r-old"),
            id="a finished rollout changes nothing on the device",
        ),
        pytest.param(
            ONE,
            AssignmentView(TWO, 4, "r-old"),
            DesiredSlot(target=ONE, attempt=5),
            id="after an abort it goes back, as a further attempt",
        ),
        pytest.param(None, AssignmentView(TWO, 4, "r-old"), None, id="nothing to go back to"),
        pytest.param(
            THREE,
            AssignmentView(TWO, 4, "r-old"),
            DesiredSlot(target=THREE, attempt=5),
            id="who was away follows the channel",
        ),
    ],
)  # fmt: skip
def test_slot(
    current: TargetRef | None, assignment: AssignmentView | None, expected: DesiredSlot | None
) -> None:
    assert slot_for(channel(current), assignment, {"r-now"}) == expected


def test_only_matching_channels_and_bundles_count_and_the_last_place_of_a_bundle_wins() -> None:
    first, second = target("1", "configs"), target("2", "configs")
    every = Selector.parse("")
    plan = FleetPlan(
        channels=[channel(ONE), ChannelView("c/d", Selector.parse("site=shop"), TWO)],
        configs=[
            ConfigView(every, first),
            ConfigView(LAB, second),
            ConfigView(Selector.parse("site=shop"), first),
            ConfigView(LAB, first),
        ],
        active_rollouts=(),
    )
    content = desired_content({"site": "lab"}, plan, {})
    assert content.slots == {"a/b": DesiredSlot(target=ONE)}
    assert content.configs == (second, first)


def test_the_hash_tells_content_and_epoch_apart_and_not_the_order_of_channels() -> None:
    channels = [channel(ONE, "a/b"), channel(TWO, "c/d")]
    contents = [
        desired_content({"site": "lab"}, FleetPlan(order, [], ()), {}) for order in (channels, channels[::-1])
    ]
    assert contents[0].sha256(1) == contents[1].sha256(1) != contents[0].sha256(2)
    assert desired_content({}, FleetPlan(channels, [], ()), {}).sha256(1) != contents[0].sha256(1)
    assert desired_content({}, FleetPlan(channels, [], ()), {}).is_empty


def test_adapters_are_part_of_a_version() -> None:
    german = target("4")
    here = ChannelView("a/b", LAB, ONE, (german,))

    assert slot_for(here, None, ()) == DesiredSlot(target=ONE, adapters=(german,))
    same = AssignmentView(ONE, 2, "r-old", (german,))
    assert slot_for(here, same, ()) == DesiredSlot(target=ONE, adapters=(german,), attempt=2, rollout="r-old")
    stale = AssignmentView(ONE, 2, "r-old")
    assert slot_for(here, stale, ()) == DesiredSlot(target=ONE, adapters=(german,), attempt=3)
    assert slot_for(here, stale, ("r-old",)) == DesiredSlot(target=ONE, attempt=2, rollout="r-old")


def test_a_device_is_told_the_labels_that_its_variants_ask_for_and_no_others() -> None:
    plan = FleetPlan([channel()], [], frozenset(), {ONE.path: frozenset({"ring", "size"})})
    content = desired_content({"site": "lab", "ring": "canary", "secret": "x"}, plan, {})
    assert content.labels == {"ring": "canary"}
    changed = desired_content({"site": "lab", "ring": "wide"}, plan, {})
    assert content.sha256(1) != changed.sha256(1)


def test_labels_that_no_variant_asks_for_make_no_new_generation() -> None:
    plan = FleetPlan([channel()], [], frozenset(), {TWO.path: frozenset({"ring"})})
    one, other = (desired_content({"site": "lab", "ring": ring}, plan, {}) for ring in ("a", "b"))
    assert one.labels == {}
    assert one.sha256(1) == other.sha256(1)

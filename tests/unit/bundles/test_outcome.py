"""When an import may tell that its update has ended: when the report is about just what is wanted."""

import msgspec
import pytest

from skerry_agent.bundles.outcome import slot_entries, slot_outcome
from skerry_protocol.desired import DesiredSlot, DesiredState, TargetRef
from skerry_protocol.generation import Generation
from skerry_protocol.reported import RunningAdapter, RunningVersion, SlotReport


def target(letter: str) -> TargetRef:
    return TargetRef(path=f"models/{letter}/1.json", sha256=letter * 64, length=9)


WANTED = DesiredState(
    device="d-abcdefgh23456723",
    id="0",
    generation=Generation(1, 1),
    issued_at=1,
    expires_at=2,
    minimum_versions={},
    slots={"a/b": DesiredSlot(target=target("a"), adapters=(target("c"), target("d")), attempt=2)},
)
DONE = SlotReport(
    state="committed",
    target_path="models/a/1.json",
    target_sha256="a" * 64,
    adapters=("c" * 64, "d" * 64),
    attempt=2,
)


def test_the_pair_that_is_wanted_is_committed() -> None:
    assert slot_outcome(WANTED, "a/b", DONE) == "committed"


@pytest.mark.parametrize(
    "change",
    [
        {"adapters": ("c" * 64,)},
        {"adapters": ("d" * 64, "c" * 64)},
        {"target_sha256": "b" * 64},
        {"attempt": 1},
        {"state": "verifying"},
    ],
)
def test_a_report_about_another_pair_is_not_the_end(change: dict[str, object]) -> None:
    assert slot_outcome(WANTED, "a/b", msgspec.structs.replace(DONE, **change)) == "under_way"


def test_what_serves_is_told_with_its_adapters() -> None:
    running = RunningVersion(
        "smol@1", None, "a" * 64, signed=True, adapters=(RunningAdapter("x@2", None, "b" * 64),)
    )
    entries = slot_entries({"a/b": msgspec.structs.replace(DONE, active=running)})
    assert entries["a/b"]["active"] == "smol@1+x@2"

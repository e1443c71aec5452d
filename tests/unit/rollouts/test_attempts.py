import pytest

from skerry_controller.rollouts.loading import next_attempt
from skerry_controller.rollouts.planner import RolloutPlan
from skerry_controller.rollouts.shares import Share, parse_waves
from skerry_protocol.reported import RunningVersion, SlotReport, SlotState

PLAN = RolloutPlan("r-1", "models/m/2.json", "b" * 64, parse_waves("100%"), Share.parse("0"), 0)


def slot(state: SlotState, attempt: int, sha: str = "b" * 64) -> SlotReport:
    active = RunningVersion(ref="m@2", target_sha256=sha, file_sha256="f" * 64, signed=True)
    return SlotReport(
        state=state, active=active, target_path="models/m/2.json", target_sha256=sha, attempt=attempt
    )


@pytest.mark.parametrize(
    ("desired", "report", "expected"),
    [
        pytest.param(0, None, 1, id="a new device"),
        pytest.param(3, None, 4, id="a device that has not reported"),
        pytest.param(1, slot("rolled_back", 5), 6, id="above what it reported"),
        pytest.param(2, slot("committed", 2), 2, id="it runs the version as asked: nothing is tried again"),
        pytest.param(0, slot("committed", 2), 2, id="it runs the version though nobody asks any more"),
        pytest.param(4, slot("committed", 2), 5, id="something else was asked meanwhile"),
        pytest.param(2, slot("committed", 2, "c" * 64), 3, id="it runs other bytes of that name"),
    ],
)
def test_an_attempt_is_above_all_former_ones(desired: int, report: SlotReport | None, expected: int) -> None:
    assert next_attempt(PLAN, desired, report) == expected

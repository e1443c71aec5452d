from typing import Any

import msgspec
import pytest

from skerry_agent.sync.limits import SyncLimits
from skerry_agent.sync.report_schedule import due_in_s
from skerry_protocol.generation import Generation, GenerationMark
from skerry_protocol.reported import ReportedState, RunningVersion, SlotReport

LIMITS = SyncLimits(report_interval_s=2.0, heartbeat_s=300.0)
ACTIVE = RunningVersion(ref="m@1", target_sha256=None, file_sha256="0" * 64, signed=True)


def report(**changes: Any) -> ReportedState:
    state = ReportedState(device="d", boot_id="b", counter=0, reported_at=0, agent_version="1")
    return msgspec.structs.replace(state, **changes)


def slots(state: Any, **changes: Any) -> dict[str, SlotReport]:
    return {"assistant/stable": SlotReport(state=state, **changes)}


@pytest.mark.parametrize(
    ("before", "after", "since_s", "due_s"),
    [
        pytest.param(None, report(), 0.0, 0.0, id="a session's first report is due at once"),
        pytest.param(report(), report(), 100.0, 200.0, id="without change the heartbeat counts"),
        pytest.param(
            report(), report(counter=9, reported_at=9), 0.0, 300.0, id="counter and time are no change"
        ),
        pytest.param(
            report(slots=slots("downloading")),
            report(slots=slots("downloading", bytes_done=5)),
            0.5,
            1.5,
            id="progress waits for the interval",
        ),
        pytest.param(
            report(slots=slots("trial")),
            report(slots=slots("committed")),
            0.0,
            0.0,
            id="committed is told now",
        ),
        pytest.param(
            report(slots=slots("trial")), report(slots=slots("rolled_back")), 0.0, 0.0, id="so is a rollback"
        ),
        pytest.param(
            report(slots=slots("staged")),
            report(slots=slots("trial", active=ACTIVE)),
            0.0,
            0.0,
            id="so is another version that serves",
        ),
        pytest.param(report(slots=slots("idle")), report(), 0.0, 0.0, id="so is a slot that went away"),
        pytest.param(
            report(),
            report(desired=GenerationMark(generation=Generation(epoch=1, number=2), sha256="0" * 64)),
            0.0,
            0.0,
            id="so is an accepted desired state",
        ),
    ],
)
def test_when_a_report_is_due(
    before: ReportedState | None, after: ReportedState, since_s: float, due_s: float
) -> None:
    assert due_in_s(before, after, since_s, LIMITS) == due_s

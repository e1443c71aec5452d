"""A sample of the named steps of ``make faults``: a whole agent dies there, and is started again."""

from pathlib import Path

import pytest

from faults.steps import STEPS, walk_steps

pytestmark = pytest.mark.timeout(240)

SAMPLE = ("half a download", "soaking")


def test_an_agent_that_dies_at_a_step_of_an_update_serves_and_ends_it(tmp_path: Path) -> None:
    steps = [step for step in STEPS if step.name in SAMPLE]
    assert len(steps) == len(SAMPLE)
    assert dict(walk_steps(tmp_path, steps)) == {name: [] for name in (*SAMPLE, "records")}

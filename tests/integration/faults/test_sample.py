"""A sample of what ``make faults`` walks: the agent is killed, loses power, and has a failing disk."""

import pytest

from faults.points import KINDS, Choice
from faults.stories import STORIES
from faults.walk import walk

pytestmark = pytest.mark.timeout(240)

SAMPLE = 44


def test_at_a_sample_of_all_points_the_update_survives() -> None:
    """Also: the layer sees every byte that is written, or the walk does not begin."""
    outcome = walk(Choice(sample=SAMPLE), workers=1)
    assert outcome.wrong == {}
    assert outcome.counts.total() == SAMPLE
    assert {story for story, _ in outcome.counts} == set(STORIES)
    assert {kind for _, kind in outcome.counts} >= {*KINDS} - {"crowded"}
    operations = [step.told for step in outcome.steps["update"]]
    assert any("catalog.db-wal" in operation for operation in operations)
    assert any("sync state/registry/files" in operation for operation in operations)

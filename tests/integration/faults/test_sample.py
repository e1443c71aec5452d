"""A sample of what ``make faults`` walks: the agent is killed, loses power, and has a failing disk."""

import pytest

from faults.points import KINDS
from faults.walk import walk

pytestmark = pytest.mark.timeout(240)

SAMPLE = 60


def test_at_a_sample_of_all_points_the_update_survives() -> None:
    """Also: the layer sees every byte that is written, or the walk does not begin."""
    outcome = walk(workers=1, sample=SAMPLE)
    assert outcome.wrong == {}
    assert sum(outcome.counts.values()) == SAMPLE
    assert set(outcome.counts) == set(KINDS)
    assert any("catalog.db-wal" in operation for operation in outcome.operations)
    assert any("sync registry/files" in operation for operation in outcome.operations)

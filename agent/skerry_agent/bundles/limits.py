"""Bounds of imports."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImportLimits:
    """Times in seconds.

    Attributes:
        answer_timeout_s: For one step of the command that reads the stick; a slow stick takes its time, one
            that was pulled out never answers.
        poll_s: How often the state of the update is looked at and told.
        recheck_s: What was refused before has so long to begin anew, when its bundle is imported again.
        wait_s: How long the end of an update is waited for, when the command does not say.
        abandoned_s: An import whose command took no step for so long gives way to a new one.
    """

    answer_timeout_s: float = 120.0
    poll_s: float = 0.5
    recheck_s: float = 3.0
    wait_s: float = 1800.0
    abandoned_s: float = 10.0

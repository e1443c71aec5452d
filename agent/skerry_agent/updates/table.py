"""The update's state machine: a table, and nothing else decides on states. Pure.

A state is stored before its effect, and every effect may be done again: so a restart finds the state whose
effect was under way and does it once more. What each state does is in ``obtaining.py`` and ``proving.py``:

============  ===========================================================================================
idle          nothing is wanted, or what was wanted no longer is
resolving     the signed manifest is looked up
checking      does it fit: device, memory, disk
downloading   chunks come, from files that are here first
verifying     the whole file is hashed and installed
staged        waits until it may be tried
trial         the acceptance checks run; once they passed, the slot is switched
committed     it serves
rolled_back   it failed its trial, or a person went back; not tried again before ``attempt`` rises
refused       it cannot be; tried again with a new ``attempt`` or generation, or when room was made
============  ===========================================================================================
"""

from collections.abc import Mapping
from typing import Literal

from skerry_protocol.reported import TERMINAL_STATES, SlotState

Event = Literal[
    "wanted",
    "satisfied",
    "held",
    "superseded",
    "resolved",
    "fits",
    "obtained",
    "damaged",
    "verified",
    "began",
    "passed",
    "switched",
    "failed",
    "restarted",
    "looped",
    "refused",
    "rolled_back_by_hand",
]

IN_FLIGHT: tuple[SlotState, ...] = (
    "resolving",
    "checking",
    "downloading",
    "verifying",
    "staged",
    "trial",
)

TRANSITIONS: Mapping[tuple[SlotState, Event], SlotState] = {
    # A desired state meets a slot where nothing is under way.
    ("idle", "wanted"): "resolving",
    ("committed", "wanted"): "resolving",
    ("rolled_back", "wanted"): "resolving",
    ("refused", "wanted"): "resolving",
    ("idle", "satisfied"): "committed",
    ("committed", "satisfied"): "committed",
    ("rolled_back", "satisfied"): "committed",
    ("refused", "satisfied"): "committed",
    ("idle", "held"): "rolled_back",
    ("committed", "held"): "rolled_back",
    ("rolled_back", "held"): "rolled_back",
    ("refused", "held"): "rolled_back",
    # The way of an update.
    ("resolving", "resolved"): "checking",
    ("checking", "fits"): "downloading",
    ("downloading", "obtained"): "verifying",
    ("verifying", "damaged"): "downloading",
    ("verifying", "verified"): "staged",
    ("staged", "began"): "trial",
    ("trial", "passed"): "trial",
    ("trial", "switched"): "committed",
    ("trial", "failed"): "rolled_back",
    # What cannot be.
    ("resolving", "refused"): "refused",
    ("checking", "refused"): "refused",
    ("downloading", "refused"): "refused",
    ("verifying", "refused"): "refused",
    ("staged", "refused"): "refused",
    # The agent started and found it so.
    ("resolving", "restarted"): "resolving",
    ("checking", "restarted"): "checking",
    ("downloading", "restarted"): "downloading",
    ("verifying", "restarted"): "verifying",
    ("staged", "restarted"): "staged",
    ("trial", "restarted"): "staged",
    # It went round and round.
    ("resolving", "looped"): "refused",
    ("checking", "looped"): "refused",
    ("downloading", "looped"): "refused",
    ("verifying", "looped"): "refused",
    ("staged", "looped"): "refused",
    ("trial", "looped"): "rolled_back",
    # Something else is wanted now, or nothing.
    ("resolving", "superseded"): "idle",
    ("checking", "superseded"): "idle",
    ("downloading", "superseded"): "idle",
    ("verifying", "superseded"): "idle",
    ("staged", "superseded"): "idle",
    ("trial", "superseded"): "idle",
    # A person went back.
    ("idle", "rolled_back_by_hand"): "rolled_back",
    ("resolving", "rolled_back_by_hand"): "rolled_back",
    ("checking", "rolled_back_by_hand"): "rolled_back",
    ("downloading", "rolled_back_by_hand"): "rolled_back",
    ("verifying", "rolled_back_by_hand"): "rolled_back",
    ("staged", "rolled_back_by_hand"): "rolled_back",
    ("trial", "rolled_back_by_hand"): "rolled_back",
    ("committed", "rolled_back_by_hand"): "rolled_back",
    ("rolled_back", "rolled_back_by_hand"): "rolled_back",
    ("refused", "rolled_back_by_hand"): "rolled_back",
}


def next_state(state: SlotState, event: Event) -> SlotState:
    """The state after an event.

    Raises:
        RuntimeError: The table has no such row; a bug.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise RuntimeError(f"an update that is {state} cannot meet {event!r}") from None


def is_terminal(state: SlotState) -> bool:
    """Whether nothing is under way."""
    return state in TERMINAL_STATES

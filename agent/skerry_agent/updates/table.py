"""The update's state machine: a table, and nothing else decides on states. Pure.

A state is stored before its effect, and every effect may be done again: so a restart finds the state whose
effect was under way and does it once more. What each state does is in ``obtaining.py``, ``proving.py`` and
``soaking.py``:

============  ===========================================================================================
idle          nothing is wanted, or what was wanted no longer is
resolving     the signed manifest is looked up
checking      does it fit: device, memory, disk
downloading   chunks come, from files that are here first
verifying     the whole file is hashed and installed
staged        waits until it may be tried
trial         the acceptance checks run, in a runner beside the one that serves
switching     they passed: the slot's requests go to the version; the one before stays ready
soaking       it takes requests on trial, and is compared with the version before
going_back    it was worse, or is not wanted any more: the version before serves again
committed     it serves, and stays
rolled_back   it failed its trial, or a person went back; not tried again before ``attempt`` rises
refused       it cannot be; tried again with a new ``attempt`` or generation, or when room was made
============  ===========================================================================================

Reports know ``switching``, ``soaking`` and ``going_back`` as ``trial``: whatever its reason says, the version
is not proven yet.
"""

from collections.abc import Mapping
from typing import Literal

from skerry_protocol.reported import TERMINAL_STATES, SlotState

State = SlotState | Literal["switching", "soaking", "going_back"]

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
    "proved",
    "went_back",
    "withdrawn",
    "no_way_back",
    "failed",
    "restarted",
    "looped",
    "refused",
    "rolled_back_by_hand",
]

IN_FLIGHT: tuple[State, ...] = (
    "resolving",
    "checking",
    "downloading",
    "verifying",
    "staged",
    "trial",
    "switching",
    "soaking",
    "going_back",
)

TRANSITIONS: Mapping[tuple[State, Event], State] = {
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
    ("trial", "passed"): "switching",
    ("trial", "failed"): "rolled_back",
    ("switching", "switched"): "soaking",
    ("switching", "proved"): "committed",
    ("switching", "failed"): "going_back",
    ("soaking", "proved"): "committed",
    ("soaking", "failed"): "going_back",
    ("going_back", "went_back"): "rolled_back",
    ("going_back", "withdrawn"): "idle",
    ("going_back", "no_way_back"): "refused",
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
    ("switching", "restarted"): "switching",
    ("soaking", "restarted"): "soaking",
    ("going_back", "restarted"): "going_back",
    # It went round and round.
    ("resolving", "looped"): "refused",
    ("checking", "looped"): "refused",
    ("downloading", "looped"): "refused",
    ("verifying", "looped"): "refused",
    ("staged", "looped"): "refused",
    ("trial", "looped"): "rolled_back",
    ("switching", "looped"): "going_back",
    ("soaking", "looped"): "going_back",
    ("going_back", "looped"): "refused",
    # Something else is wanted now, or nothing.
    ("resolving", "superseded"): "idle",
    ("checking", "superseded"): "idle",
    ("downloading", "superseded"): "idle",
    ("verifying", "superseded"): "idle",
    ("staged", "superseded"): "idle",
    ("trial", "superseded"): "idle",
    ("soaking", "superseded"): "going_back",
    # A person went back.
    ("idle", "rolled_back_by_hand"): "rolled_back",
    ("resolving", "rolled_back_by_hand"): "rolled_back",
    ("checking", "rolled_back_by_hand"): "rolled_back",
    ("downloading", "rolled_back_by_hand"): "rolled_back",
    ("verifying", "rolled_back_by_hand"): "rolled_back",
    ("staged", "rolled_back_by_hand"): "rolled_back",
    ("trial", "rolled_back_by_hand"): "rolled_back",
    ("switching", "rolled_back_by_hand"): "rolled_back",
    ("soaking", "rolled_back_by_hand"): "rolled_back",
    ("going_back", "rolled_back_by_hand"): "rolled_back",
    ("committed", "rolled_back_by_hand"): "rolled_back",
    ("rolled_back", "rolled_back_by_hand"): "rolled_back",
    ("refused", "rolled_back_by_hand"): "rolled_back",
}


def next_state(state: State, event: Event) -> State:
    """The state after an event.

    Raises:
        RuntimeError: The table has no such row; a bug.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise RuntimeError(f"an update that is {state} cannot meet {event!r}") from None


def reported_state(state: State) -> SlotState:
    """The state as reports know it."""
    if state == "switching" or state == "soaking" or state == "going_back":  # noqa: PLR1714 - mypy narrows it
        return "trial"
    return state


def is_terminal(state: State) -> bool:
    """Whether nothing is under way."""
    return state in TERMINAL_STATES

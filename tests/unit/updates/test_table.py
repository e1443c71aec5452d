from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.updates.table import (
    IN_FLIGHT,
    TRANSITIONS,
    Event,
    State,
    is_terminal,
    next_state,
    reported_state,
)
from skerry_protocol.reported import TERMINAL_STATES, SlotState

REPORTED: tuple[SlotState, ...] = get_args(SlotState)
STATES: tuple[State, ...] = (*REPORTED, "switching", "soaking", "going_back")
EVENTS: tuple[Event, ...] = get_args(Event)


def walk(state: State, *events: Event) -> list[State]:
    chain = []
    for event in events:
        state = next_state(state, event)
        chain.append(state)
    return chain


@pytest.mark.parametrize(
    ("start", "events", "chain"),
    [
        (
            "idle",
            ["wanted", "resolved", "fits", "obtained", "verified", "began", "passed", "switched", "proved"],
            [
                "resolving",
                "checking",
                "downloading",
                "verifying",
                "staged",
                "trial",
                "switching",
                "soaking",
                "committed",
            ],
        ),
        ("trial", ["passed", "proved"], ["switching", "committed"]),
        ("soaking", ["failed", "went_back", "held"], ["going_back", "rolled_back", "rolled_back"]),
        ("soaking", ["restarted", "looped", "no_way_back"], ["soaking", "going_back", "refused"]),
        ("soaking", ["superseded", "withdrawn", "wanted"], ["going_back", "idle", "resolving"]),
        ("switching", ["restarted", "failed", "restarted"], ["switching", "going_back", "going_back"]),
        ("committed", ["wanted", "refused", "wanted"], ["resolving", "refused", "resolving"]),
        ("downloading", ["obtained", "damaged", "obtained"], ["verifying", "downloading", "verifying"]),
        ("staged", ["began", "restarted", "began", "failed"], ["trial", "staged", "trial", "rolled_back"]),
        ("trial", ["looped", "held", "wanted"], ["rolled_back", "rolled_back", "resolving"]),
        ("downloading", ["superseded", "satisfied"], ["idle", "committed"]),
        ("trial", ["superseded", "wanted"], ["idle", "resolving"]),
        (
            "committed",
            ["rolled_back_by_hand", "held", "satisfied"],
            ["rolled_back", "rolled_back", "committed"],
        ),
    ],
)
def test_the_chains_that_matter(start: State, events: list[Event], chain: list[State]) -> None:
    assert walk(start, *events) == chain


def test_the_states_are_those_of_the_protocol() -> None:
    assert {*IN_FLIGHT, *TERMINAL_STATES} == set(STATES)
    assert not set(IN_FLIGHT) & TERMINAL_STATES
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(STATES)
    assert {event for _, event in TRANSITIONS} == set(EVENTS)


@pytest.mark.parametrize("state", IN_FLIGHT)
def test_whatever_is_under_way_can_restart_loop_end_and_give_way(state: State) -> None:
    assert not is_terminal(next_state(state, "restarted"))
    ended = next_state(state, "looped")
    assert is_terminal(ended) or is_terminal(next_state(ended, "looped"))
    if state not in ("switching", "going_back"):
        assert next_state(state, "superseded") == ("going_back" if state == "soaking" else "idle")


@pytest.mark.parametrize("state", STATES)
def test_reports_know_every_state_and_call_nothing_done_that_is_not(state: State) -> None:
    assert reported_state(state) in REPORTED
    assert is_terminal(reported_state(state)) == is_terminal(state)


@pytest.mark.parametrize("state", STATES)
def test_a_person_can_always_go_back(state: State) -> None:
    assert next_state(state, "rolled_back_by_hand") == "rolled_back"


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_a_desired_state_is_taken_up_wherever_nothing_is_under_way(state: SlotState) -> None:
    assert next_state(state, "wanted") == "resolving"
    assert next_state(state, "satisfied") == "committed"
    assert next_state(state, "held") == "rolled_back"


def test_only_a_proven_or_satisfied_slot_is_committed() -> None:
    into = {event for (state, event), to in TRANSITIONS.items() if to == "committed" != state}
    assert into == {"proved", "satisfied"}


def test_what_the_table_does_not_know_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="idle cannot meet 'passed'"):
        next_state("idle", "passed")


@given(st.lists(st.sampled_from(EVENTS)))
def test_from_every_reachable_state_there_is_a_way_to_an_end(events: list[Event]) -> None:
    state: State = "idle"
    for event in events:
        state = TRANSITIONS.get((state, event), state)
    ended = state if is_terminal(state) else next_state(state, "looped")
    assert is_terminal(ended) or is_terminal(next_state(ended, "looped"))

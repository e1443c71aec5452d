from typing import Any

import pytest

from skerry_agent.cli.memory_words import budget, in_memory, memory

MIB = 1 << 20


def runner(**changes: Any) -> dict[str, Any]:
    usual = {
        "state": "ready",
        "role": "serving",
        "retry_after_s": 0.0,
        "leases": 0,
        "load_fraction": None,
        "keep_alive_left_s": None,
        "predicted_bytes": 290 * MIB,
        "measured_bytes": 268 * MIB,
    }
    return usual | changes


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (runner(), "ready"),
        (runner(keep_alive_left_s=42.4), "ready, 42 s left"),
        (runner(keep_alive_left_s=250.0), "ready, 4 min left"),
        (runner(keep_alive_left_s=86_400.0), "ready, 24 h left"),
        (runner(leases=1), "ready, in use"),
        (runner(state="queued"), "queued"),
        (runner(state="loading", load_fraction=0.42), "loading, 42 %"),
        (runner(role="candidate"), "candidate, ready"),
        (runner(state="out_of_service", retry_after_s=210.0), "out of service, again in 4 min"),
    ],
)
def test_a_place_in_memory_reads_well(entry: dict[str, Any], words: str) -> None:
    assert in_memory(entry) == words


def test_measured_and_predicted_stand_beside_each_other() -> None:
    assert memory(runner()) == "268 MiB, 290 predicted"
    assert memory(runner(measured_bytes=None)) == "290 MiB predicted"
    assert memory(runner(measured_bytes=None, predicted_bytes=0)) == "-"
    assert budget({"loaded_bytes": 268 * MIB, "budget_bytes": 6400 * MIB}) == "models hold 268 of 6400 MiB"

from typing import Any

import pytest

from skerry_controller.errors import UsageError
from skerry_controller.workshop.choosing import group_devices, reported_figures
from skerry_protocol.device_facts import device_facts
from skerry_protocol.selectors import Selector

GIB = 1024**3


def device(name: str, *, arch: str = "aarch64", memory: float = 3.8, **more: Any) -> dict[str, Any]:
    inventory = {
        "arch": arch,
        "cpu_model": "Raspberry Pi 5",
        "cpu_count": 4,
        "memory_bytes": int(memory * GIB),
        "disk_bytes": 30 * GIB,
    }
    return {
        "id": name,
        "inventory": inventory,
        "agent_version": "0.1.0",
        "reported_at": "2026-11-25T05:00:00Z",
        "reported": more or None,
    }


def test_devices_of_one_class_and_memory_are_one_group_and_those_with_more_come_first() -> None:
    groups = group_devices(
        [device("d-1"), device("d-2", memory=7.7), device("d-3", memory=3.7), device("d-4", arch="x86_64")]
    )
    assert [group.devices for group in groups] == [("d-2",), ("d-1", "d-3"), ("d-4",)]
    assert groups[1].memory_bytes == int(3.7 * GIB)


def test_a_groups_selector_finds_its_devices_by_their_own_facts() -> None:
    large, small = group_devices([device("d-1"), device("d-2", memory=7.7)])
    facts = [
        device_facts(
            arch="aarch64", processor="Raspberry Pi 5", cores=4, memory_bytes=int(size * GIB), features=()
        )
        for size in (3.8, 7.7)
    ]
    assert [Selector.parse(large.selector).matches(each) for each in facts] == [False, True]
    assert Selector.parse(small.selector).matches(facts[0])


def test_devices_that_have_not_reported_cannot_be_chosen_for() -> None:
    with pytest.raises(UsageError, match="none of 1 devices has reported"):
        group_devices([{"id": "d-1", "inventory": {}}])
    with pytest.raises(UsageError, match="no device matches"):
        group_devices([])


def test_what_a_device_measured_in_its_trial_is_a_figure_of_its_class() -> None:
    active = {"ref": "small@1", "target_sha256": "a" * 64, "file_sha256": "f" * 64}
    slot = {"active": active, "target_sha256": "a" * 64, "figures": {"tokens_per_s": 11.5, "rss_bytes": 2e8}}
    [figures] = reported_figures([device("d-1", slots={"assistant/stable": slot})])["f" * 64]
    assert figures.machine.device == "d-1"
    found = figures.find("generation_tok_s", batch=1)
    assert found is not None
    assert found.median == 11.5


def test_figures_of_a_version_that_was_rolled_back_are_not_those_of_what_runs() -> None:
    active = {"ref": "small@1", "target_sha256": "a" * 64, "file_sha256": "f" * 64}
    slot = {"active": active, "target_sha256": "b" * 64, "figures": {"tokens_per_s": 11.5}}
    assert reported_figures([device("d-1", slots={"assistant/stable": slot})]) == {}

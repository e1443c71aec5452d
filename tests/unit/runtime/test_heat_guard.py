from pathlib import Path

import pytest

from skerry_agent.runtime.cpu_times import CpuClock
from skerry_agent.runtime.heat_guard import MAX_PAUSE, HeatGuard, hottest_zone
from skerry_agent.runtime.thread_governor import ThreadControl, ThreadGovernor


class _Device:
    now = 0.0
    celsius: float | None = 50.0

    def guard(self, threads: int = 3) -> HeatGuard:
        return HeatGuard(80.0, threads, read=lambda: self.celsius, clock=lambda: self.now)

    def spend(self, guard: HeatGuard, celsius: float | None, times: int) -> list[tuple[int, float]]:
        self.celsius = celsius
        states = []
        for _ in range(times):
            self.now += 5.0
            guard.look()
            states.append((guard.threads, round(guard.pause, 1)))
        return states


def test_threads_go_first_and_pauses_come_then() -> None:
    device = _Device()
    states = device.spend(device.guard(), 85.0, 8)
    assert states == [(2, 0), (1, 0), (1, 0.2), (1, 0.4), (1, 0.6), (1, 0.8), (1, 0.8), (1, 0.8)]
    assert states[-1][1] == MAX_PAUSE


def test_a_device_that_cools_down_gets_its_speed_back_the_other_way_round() -> None:
    device = _Device()
    guard = device.guard()
    device.spend(guard, 85.0, 3)
    assert device.spend(guard, 77.0, 3) == [(1, 0.2)] * 3  # not cool enough to try again
    assert device.spend(guard, 70.0, 4) == [(1, 0), (2, 0), (3, 0), (3, 0)]


def test_the_sensor_is_read_every_few_seconds_only() -> None:
    device = _Device()
    guard = device.guard()
    device.celsius = 90.0
    for _ in range(100):
        guard.look()
    assert guard.threads == 2


def test_a_device_without_sensors_is_never_slowed() -> None:
    device = _Device()
    assert set(device.spend(device.guard(), None, 5)) == {(3, 0)}


def test_a_pause_is_in_proportion_to_the_step() -> None:
    device = _Device()
    guard = device.guard()
    assert guard.pause_s(0.1) == 0
    device.spend(guard, 90.0, 6)
    assert guard.pause_s(0.1) == pytest.approx(0.4)


def test_the_hottest_zone_counts_and_broken_ones_do_not(tmp_path: Path) -> None:
    for name, text in {
        "thermal_zone0": "45000\n",
        "thermal_zone1": "61500\n",
        "thermal_zone2": "off",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "temp").write_text(text)
    assert hottest_zone(tmp_path) == 61.5
    assert hottest_zone(tmp_path / "none") is None


def test_heat_limits_the_threads_that_the_neighbours_leave(tmp_path: Path) -> None:
    device = _Device()
    guard = device.guard(4)
    said: list[int] = []
    stat = tmp_path / "stat"
    stat.write_text("cpu 0\nprocs_running 1\n")
    control = ThreadControl(
        ThreadGovernor(4, cores=4), CpuClock(stat, frozenset({0})), said.append, heat=guard
    )
    control.after_step(0.0)
    assert said == []
    device.spend(guard, 90.0, 2)
    control.after_step(0.0)
    assert said == [2]
    assert control.threads == 2

from pathlib import Path

from skerry_agent.runtime.cpu_times import CpuClock, CpuTimes
from skerry_agent.runtime.thread_governor import ThreadGovernor


class _Device:
    """Feeds a governor with windows of a device where the others have a steady load."""

    def __init__(self, governor: ThreadGovernor) -> None:
        self._governor = governor
        self._wall = self._busy = self._own = 0.0
        governor.observe(CpuTimes(0, 0, 0))

    def spend(self, seconds: float, *, others_cores: float, window_s: float = 0.2) -> list[int]:
        said = []
        for _ in range(round(seconds / window_s)):
            self._wall += window_s
            self._own += window_s * self._governor.threads
            self._busy += window_s * (self._governor.threads + others_cores)
            said.append(self._governor.observe(CpuTimes(self._wall, self._busy, self._own)))
        return said


def test_an_idle_device_gives_all_its_threads() -> None:
    governor = ThreadGovernor(4, cores=4)
    assert set(_Device(governor).spend(10, others_cores=0.1)) == {4}
    assert governor.changes == 0


def test_a_busy_neighbour_takes_a_thread_within_one_window() -> None:
    governor = ThreadGovernor(2, cores=2)
    assert _Device(governor).spend(0.2, others_cores=0.67) == [1]
    assert governor.others_cores > 0.6


def test_many_neighbours_leave_one_thread() -> None:
    assert _Device(ThreadGovernor(4, cores=4)).spend(1, others_cores=6)[-1] == 1


def test_fewer_threads_than_cores_leave_room_for_neighbours() -> None:
    assert _Device(ThreadGovernor(2, cores=4)).spend(5, others_cores=2)[-1] == 2


def test_threads_come_back_one_by_one_when_the_neighbours_have_gone() -> None:
    device = _Device(ThreadGovernor(4, cores=4))
    device.spend(1, others_cores=3)
    said = device.spend(10, others_cores=0)
    assert said[:4] == [1, 1, 1, 1]
    assert said[-1] == 4
    assert sorted(said) == said


def test_a_load_in_between_changes_nothing() -> None:
    device = _Device(ThreadGovernor(2, cores=2))
    assert set(device.spend(5, others_cores=0.4)) == {2}
    device.spend(1, others_cores=1)
    assert set(device.spend(20, others_cores=0.4)) == {1}


def test_a_neighbour_that_comes_and_goes_makes_it_patient() -> None:
    governor = ThreadGovernor(2, cores=2)
    device = _Device(governor)
    for _ in range(60):
        device.spend(1.4, others_cores=0)
        device.spend(0.6, others_cores=1)
    assert governor.changes < 20


def test_room_in_a_pause_is_taken_at_once() -> None:
    governor = ThreadGovernor(4, cores=4)
    device = _Device(governor)
    device.spend(1, others_cores=3)
    assert governor.threads == 1
    assert not governor.resume(CpuTimes(31, 7, 1))
    assert governor.threads == 4


def test_a_neighbour_in_a_pause_counts_when_it_is_still_there() -> None:
    governor = ThreadGovernor(2, cores=2)
    governor.observe(CpuTimes(0, 0, 0))
    assert governor.resume(CpuTimes(30, 30, 0))
    assert governor.threads == 2
    governor.probed(CpuTimes(30.03, 30.0, 0))
    assert governor.threads == 2
    assert governor.resume(CpuTimes(60, 60, 0))
    governor.probed(CpuTimes(60.03, 60.03, 0))
    assert governor.threads == 1


def test_a_short_pause_is_none() -> None:
    governor = ThreadGovernor(2, cores=2)
    governor.observe(CpuTimes(0, 0, 0))
    assert not governor.resume(CpuTimes(0.1, 0.2, 0))
    assert governor.threads == 2


def test_a_first_reading_has_nothing_to_say() -> None:
    assert ThreadGovernor(4, cores=4).observe(CpuTimes(50, 500, 1)) == 4


def test_readings_are_wanted_once_a_window() -> None:
    governor = ThreadGovernor(2, cores=2)
    assert governor.due(0.0)
    governor.observe(CpuTimes(5.0, 0, 0))
    assert not governor.due(5.1)
    assert governor.due(5.2)


def test_the_clock_counts_the_work_on_our_cores_only(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 1 20 5000 50 2 3 4 100 0\ncpu1 7 0 0 9 0 0 0 0 0 0\nintr 1 2\n"
    )
    clock = CpuClock(stat, frozenset({0}))
    times = clock.read()
    assert times is not None
    assert times.busy == 1.3
    assert times.own > 0
    assert clock.cores == 1


def test_a_kernel_that_tells_nothing_is_fine(tmp_path: Path) -> None:
    assert CpuClock(tmp_path / "none").read() is None


def test_the_real_clock_runs() -> None:
    first = CpuClock().read()
    second = CpuClock().read()
    assert first is not None
    assert second is not None
    assert second.wall > first.wall
    assert second.busy >= first.busy

from pathlib import Path

import pytest

from skerry_agent.trust import TimeLimits, TrustedTime
from support.metadata_sources import ManualClock

BUILD = 1_000_000.0
LIMITS = TimeLimits(window_s=10_000.0, persist_step_s=100.0)


def make(path: Path, clock: ManualClock) -> TrustedTime:
    return TrustedTime(
        path / "time.json",
        lambda: clock.wall,
        monotonic=lambda: clock.monotonic,
        build_date_s=BUILD,
        limits=LIMITS,
    )


def test_a_plausible_clock_is_believed(tmp_path: Path) -> None:
    time = make(tmp_path, ManualClock(BUILD + 500))
    assert time.now() == BUILD + 500
    assert time.clock_is_believed()


def test_with_a_clock_of_1970_time_starts_at_the_floor_and_passes(tmp_path: Path) -> None:
    clock = ManualClock(0.0)
    time = make(tmp_path, clock)
    clock.pass_time(60)
    assert time.now() == BUILD + 60
    assert not time.clock_is_believed()


def test_a_clock_far_ahead_is_not_believed(tmp_path: Path) -> None:
    clock = ManualClock(BUILD + LIMITS.window_s + 1)
    time = make(tmp_path, clock)
    assert time.now() == BUILD


def test_a_signed_issue_time_lifts_the_floor(tmp_path: Path) -> None:
    clock = ManualClock(0.0)
    time = make(tmp_path, clock)
    time.raise_floor(BUILD + 300, "desired")
    assert time.now() == BUILD + 300


def test_an_older_issue_time_changes_nothing(tmp_path: Path) -> None:
    time = make(tmp_path, ManualClock(0.0))
    time.raise_floor(BUILD + 300, "desired")
    time.raise_floor(BUILD + 200, "ack")
    assert time.floor == BUILD + 300


def test_time_does_not_step_back_when_the_floor_rises_below_the_time_that_passed(tmp_path: Path) -> None:
    clock = ManualClock(0.0)
    time = make(tmp_path, clock)
    clock.pass_time(500)
    time.raise_floor(BUILD + 100, "ack")
    assert time.now() == BUILD + 500


def test_the_floor_survives_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(0.0)
    make(tmp_path, clock).raise_floor(BUILD + 300, "desired")
    assert make(tmp_path, clock).now() == BUILD + 300


def test_small_rises_are_not_written(tmp_path: Path) -> None:
    clock = ManualClock(0.0)
    time = make(tmp_path, clock)
    time.raise_floor(BUILD + 300, "desired")
    written = (tmp_path / "time.json").stat().st_mtime_ns, (tmp_path / "time.json").stat().st_ino
    for step in range(99):
        time.raise_floor(BUILD + 300 + step, "ack")
    assert ((tmp_path / "time.json").stat().st_mtime_ns, (tmp_path / "time.json").stat().st_ino) == written


def test_an_issue_time_beyond_the_bound_is_ignored(tmp_path: Path) -> None:
    time = make(tmp_path, ManualClock(0.0))
    time.raise_floor(BUILD + LIMITS.window_s + 1, "desired")
    assert time.floor == BUILD


def test_repeated_issue_times_do_not_walk_past_the_bound(tmp_path: Path) -> None:
    time = make(tmp_path, ManualClock(0.0))
    for step in range(1, 5):
        time.raise_floor(BUILD + step * LIMITS.window_s, "desired")
    assert time.floor == BUILD + LIMITS.window_s


def test_a_new_epoch_resets_the_floor(tmp_path: Path) -> None:
    clock = ManualClock(0.0)
    time = make(tmp_path, clock)
    time.set_anchor(1, BUILD + 10)
    time.raise_floor(BUILD + 9_000, "desired")
    time.set_anchor(2, BUILD + 200)
    assert time.now() == BUILD + 200
    assert make(tmp_path, clock).now() == BUILD + 200


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_same_or_an_older_epoch_never_lowers_the_floor(tmp_path: Path, epoch: int) -> None:
    time = make(tmp_path, ManualClock(0.0))
    time.set_anchor(1, BUILD + 500)
    time.set_anchor(epoch, BUILD + 200)
    assert time.floor == BUILD + 500


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"v":1,"floor":"x"}', b"\xff\x00"])
def test_a_damaged_file_counts_as_nothing_known(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "time.json").write_bytes(content)
    assert make(tmp_path, ManualClock(0.0)).now() == BUILD


@pytest.mark.parametrize(
    ("wall", "told"),
    [(0.0, None), (BUILD - 1, None), (BUILD + 50, BUILD + 50), (BUILD + 10_001, None)],
)
def test_the_clock_counts_by_itself_only_since_the_anchor(
    tmp_path: Path, wall: float, told: float | None
) -> None:
    time = make(tmp_path, ManualClock(wall))
    time.raise_floor(BUILD + 9_000, "a stolen director")
    assert time.clock_since_anchor() == told

from datetime import UTC, datetime

import pytest

from skerry_controller.errors import UsageError
from skerry_controller.rollouts.shares import Share, parse_waves
from skerry_controller.rollouts.windows import parse_duration, parse_window


@pytest.mark.parametrize(
    ("text", "total", "least", "most"),
    [("1", 0, 0, 0), ("3", 2, 2, 2), ("10%", 11, 2, 1), ("100%", 7, 7, 7), ("0.5%", 1, 1, 0), ("0", 9, 0, 0)],
)
def test_shares_round_for_their_purpose(text: str, total: int, least: int, most: int) -> None:
    share = Share.parse(text)
    assert (share.at_least(total), share.at_most(total)) == (least, most)
    assert Share.parse(str(share)) == share


@pytest.mark.parametrize("text", ["", "x", "-1", "101%", "1.5", "1e3", "10 %", "٣"])
def test_other_shares_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Share.parse(text)


@pytest.mark.parametrize("text", ["", "1", "100%,1", "0,100%", "10%,5%,100%", "1,1,100%", "99%", "1,,100%"])
def test_waves_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_waves(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("3h", 10800), ("2d", 172800), ("0", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "h", "-1h", "1.5h", "10 m"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


def at(day: int, hour: int, minute: int = 0) -> float:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("when", "is_open"),
    [((24, 1, 59), False), ((24, 2), True), ((24, 4, 59), True), ((24, 5), False), ((25, 2, 30), True)],
)
def test_a_window_is_open_from_its_start_for_its_duration(when: tuple[int, ...], is_open: bool) -> None:
    assert parse_window("0 2 * * * 3h").is_open(at(*when)) is is_open


def test_a_window_over_midnight_stays_open() -> None:
    assert parse_window("0 23 * * * 3h").is_open(at(24, 1))


@pytest.mark.parametrize("field", ["0", "7", "sun"])
def test_weekdays_count_as_cron_does(field: str) -> None:
    window = parse_window(f"0 2 * * {field} 1h")
    assert window.is_open(at(22, 2))  # a Sunday
    assert not window.is_open(at(23, 2))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 2 * * *",
        "0 2 * * 3h",
        "61 2 * * * 3h",
        "0 2 * * */2 3h",
        "0 2 * * * 8d",
        "0 2 * * * 0",
        "a b c d e 1h",
    ],
)
def test_other_windows_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_window(text)

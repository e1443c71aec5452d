from datetime import UTC, datetime

import msgspec
import pytest

from skerry_agent.cli.update_words import progress, waiting
from skerry_protocol.reported import Reason, SlotReport

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
WINDOW = Reason("outside_download_window", "waits for the window for downloads")


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (SlotReport(state="committed"), "committed"),
        (SlotReport(state="downloading"), "downloading"),
        (SlotReport(state="downloading", bytes_done=10, bytes_total=25), "downloading 40 %"),
        (
            SlotReport(
                state="downloading", bytes_done=1, bytes_total=4, bytes_per_s=1_600_000, source="mqtt"
            ),
            "downloading 25 % at 1.53 MiB/s from mqtt",
        ),
    ],
)
def test_progress_says_how_fast_and_from_where(report: SlotReport, words: str) -> None:
    assert progress(msgspec.to_builtins(report)) == words


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (SlotReport(state="committed"), ""),
        (SlotReport(state="refused", reason=WINDOW), WINDOW.message),
        (
            SlotReport(state="downloading", reason=WINDOW, waits_until=int(NOW.timestamp()) + 90),
            "waits for the window for downloads (until 12:01:30)",
        ),
        (
            SlotReport(state="downloading", reason=WINDOW, waits_until=int(NOW.timestamp()) + 50_000),
            "waits for the window for downloads (until 2026-11-26 01:53)",
        ),
    ],
)
def test_waiting_says_for_what_and_until_when(report: SlotReport, words: str) -> None:
    assert waiting(msgspec.to_builtins(report), NOW, UTC) == words


def test_no_update_has_no_words() -> None:
    assert (progress({}), waiting({})) == ("-", "")

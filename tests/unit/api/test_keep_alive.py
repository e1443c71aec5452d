import math

import pytest

from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.ollama.keep_alive import keep_alive_seconds


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        ("", None),
        (0, 0.0),
        ("0", 0.0),
        ("0s", 0.0),
        (300, 300.0),
        (1.5, 1.5),
        ("300", 300.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("100ms", 0.1),
        (-1, math.inf),
        ("-1", math.inf),
        ("-1m", math.inf),
    ],
)
def test_durations_are_read_as_go_writes_them(given: str | float | None, seconds: float | None) -> None:
    assert keep_alive_seconds(given) == pytest.approx(seconds)


@pytest.mark.parametrize("given", ["5 minutes", "m", "1d", "1h-5m", "5m" * 100, "nan", "9" * 5000])
def test_what_is_no_duration_is_refused(given: str) -> None:
    with pytest.raises(BadRequestError, match="keep_alive"):
        keep_alive_seconds(given)

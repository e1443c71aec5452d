import pytest

from skerry_agent.runtime.meter import Meter
from skerry_agent.runtime.requests import Timings, Usage


def _finish(meter: Meter, *, tokens: int, decode_ms: float, first_token_s: float) -> None:
    rate = (tokens - 1) / decode_ms * 1e3 if tokens > 1 else 0.0
    meter.finish(Usage(10, tokens), Timings(0, 100, 100, decode_ms, rate), first_token_s=first_token_s)


def test_before_the_first_request_there_are_no_figures() -> None:
    metrics = Meter().metrics(queue_depth=0, in_flight=0)
    assert metrics.mean_tokens_per_s is None
    assert metrics.last_first_token_ms is None
    assert metrics.mean_first_token_ms is None


def test_rates_are_weighed_by_time_and_single_tokens_have_none() -> None:
    meter = Meter()
    _finish(meter, tokens=11, decode_ms=1000, first_token_s=0.1)
    _finish(meter, tokens=31, decode_ms=1000, first_token_s=0.3)
    _finish(meter, tokens=1, decode_ms=0, first_token_s=0.2)
    metrics = meter.metrics(queue_depth=1, in_flight=2)
    assert metrics.last_tokens_per_s == pytest.approx(30)
    assert metrics.mean_tokens_per_s == pytest.approx(20)
    assert metrics.mean_first_token_ms == pytest.approx(200)
    assert metrics.last_first_token_ms == pytest.approx(200)
    assert (metrics.prompt_tokens, metrics.completion_tokens) == (30, 43)
    assert (metrics.queue_depth, metrics.in_flight) == (1, 2)


@pytest.mark.parametrize(("busy_ms", "wait"), [(0, 1), (10_000, 10), (3_600_000, 60)])
def test_a_refused_request_is_told_when_to_come_again(busy_ms: float, wait: float) -> None:
    meter = Meter()
    if busy_ms:
        _finish(meter, tokens=2, decode_ms=busy_ms - 100, first_token_s=1)
    assert meter.retry_after_s == pytest.approx(wait)

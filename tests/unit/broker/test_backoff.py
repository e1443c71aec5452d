from pathlib import Path

from skerry_controller.broker import BrokerSettings
from skerry_controller.broker.process import Backoff


def test_waits_double_up_to_a_bound_and_start_over_after_a_long_run() -> None:
    settings = BrokerSettings(folder=Path(), backoff_min_s=1, backoff_max_s=5, stable_after_s=60)
    backoff = Backoff(settings)
    assert [backoff.after_run_of(0.1) for _ in range(5)] == [1, 2, 4, 5, 5]
    assert [backoff.after_run_of(60), backoff.after_run_of(59)] == [1, 2]

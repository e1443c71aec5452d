import pytest

from skerry_agent.errors import UsageError
from skerry_agent.settings import check_bundle


@pytest.mark.parametrize(
    "bundle",
    [
        pytest.param({"api": {"host": "0.0.0.0"}}, id="an address"),  # noqa: S104 - refused
        pytest.param({"api": {"allowed_hosts": ["evil.example"]}}, id="host names"),
    ],
)
def test_a_bundle_cannot_open_the_local_api_to_others(bundle: dict[str, dict[str, object]]) -> None:
    with pytest.raises(UsageError, match="belongs to the device"):
        check_bundle(bundle)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("sync", "reconnect_initial_s", 1e9),
        ("sync", "reconnect_max_s", 1e9),
        ("sync", "request_timeout_s", 1e-6),
        ("sync", "request_timeout_s", 1e9),
        ("sync", "ack_timeout_s", 1e-6),
        ("sync", "refresh_interval_s", 1e12),
        ("sync", "heartbeat_s", 1e12),
        ("updates", "retry_initial_s", 1e9),
        ("updates", "retry_max_s", 1e9),
        ("telemetry", "sample_interval_s", 1e-6),
        ("telemetry", "flush_interval_s", 1e9),
        ("outbox", "keep_events", 2**70),
    ],
)
def test_a_bundle_cannot_put_a_device_out_of_reach(section: str, key: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{section}.{key}"):
        check_bundle({section: {key: value}})


def test_a_bundle_may_set_the_rest_within_bounds() -> None:
    check_bundle(
        {
            "api": {"port": 8611},
            "sync": {"reconnect_max_s": 600.0, "heartbeat_s": 600},
            "telemetry": {"sample_interval_s": 0.5, "flush_interval_s": 300.0},
            "registry": {"allow_local_when_enrolled": True},
        }
    )


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("download_window", "0 2 * * *", "five cron fields and a duration"),
        ("download_window", "0 2 30 2 * 3h", "never begins"),
        ("activation_window", "0 25 * * * 3h", "25"),
        ("download_bytes_per_s", 1000, "1024 or more"),
        ("start_spread_s", 1e9, "start_spread_s"),
    ],
)
def test_limits_of_downloads_that_make_no_sense_are_refused(key: str, value: object, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        check_bundle({"updates": {key: value}})


def test_a_bundle_may_limit_downloads() -> None:
    check_bundle({"updates": {"download_window": "0 2 * * mon,thu 3h", "download_bytes_per_s": 65_536}})

"""What a fleet's config bundle may say, beside being valid.

A bundle is signed, but the director chooses among all that ever were, and a person may sign a mistake. So
none can show the local API to others than the device does, or put the device out of reach of its fleet: a
pause of years, or an answer that has to come in no time, could never be taken back from afar.
"""

from collections.abc import Mapping
from typing import Any

from skerry_agent.errors import UsageError
from skerry_agent.settings.load import check_bundle as check_schema

DEVICE_KEYS = frozenset({"api.host", "api.allowed_hosts", "api.require_token"})
"""Who may reach the local API is decided on the device."""

_HOUR_S = 3600.0
_DAY_S = 86_400.0

BOUNDS: Mapping[str, tuple[float, float]] = {
    "sync.reconnect_initial_s": (0.1, 300.0),
    "sync.reconnect_max_s": (1.0, _HOUR_S),
    "sync.request_timeout_s": (1.0, 600.0),
    "sync.ack_timeout_s": (1.0, _HOUR_S),
    "sync.report_interval_s": (0.1, _HOUR_S),
    "sync.heartbeat_s": (1.0, _DAY_S),
    "sync.refresh_interval_s": (10.0, 7 * _DAY_S),
    "updates.retry_initial_s": (0.1, _HOUR_S),
    "updates.retry_max_s": (1.0, _DAY_S),
    "updates.start_spread_s": (0.0, 7 * _DAY_S),
    "telemetry.sample_interval_s": (0.1, _DAY_S),
    "telemetry.flush_interval_s": (0.1, _HOUR_S),
    "outbox.max_bytes": (0, 1 << 40),
    "outbox.keep_events": (0, 1_000_000),
}
"""Key -> least and most that a bundle may set, in the key's unit. The device's own file may go beyond."""


def check_bundle(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Check a config bundle's settings, before they are applied.

    Raises:
        UsageError: A section or key that no bundle may set, a wrong key or value, or one out of bounds.
    """
    check_schema(settings)
    for section, values in settings.items():
        for key, value in values.items():
            _check_value(f"{section}.{key}", value)


def _check_value(key: str, value: object) -> None:
    if key in DEVICE_KEYS:
        raise UsageError(f"a config bundle cannot set {key}: that belongs to the device")
    if key not in BOUNDS or not isinstance(value, int | float):
        return
    least, most = BOUNDS[key]
    if not least <= value <= most:
        raise UsageError(f"a config bundle may set {key} to {least:g} … {most:g}, not to {value:g}")

"""From settings to the limits of the fleet's side. Apart, since importing these rooms costs memory."""

from skerry_agent.settings.model import SyncSettings, UpdateSettings
from skerry_agent.sync import SyncLimits
from skerry_agent.updates.limits import UpdateLimits


def update_limits(settings: UpdateSettings) -> UpdateLimits:
    """Bounds of updates."""
    return UpdateLimits(
        retry_initial_s=settings.retry_initial_s,
        retry_max_s=settings.retry_max_s,
        allowed_licenses=settings.allowed_licenses,
        refused_licenses=settings.refused_licenses,
        soak_s=settings.soak_s,
        soak_max_slowdown=settings.soak_max_slowdown,
        soak_max_more_errors_percent=settings.soak_max_more_errors_percent,
        soak_max_celsius=settings.soak_max_celsius,
    )


def sync_limits(settings: SyncSettings) -> SyncLimits:
    """Bounds and times of the session with the controller."""
    return SyncLimits(
        keepalive_s=settings.keepalive_s,
        reconnect_initial_s=settings.reconnect_initial_s,
        reconnect_max_s=settings.reconnect_max_s,
        request_timeout_s=settings.request_timeout_s,
        ack_timeout_s=settings.ack_timeout_s,
        report_interval_s=settings.report_interval_s,
        heartbeat_s=settings.heartbeat_s,
        refresh_interval_s=settings.refresh_interval_s,
    )

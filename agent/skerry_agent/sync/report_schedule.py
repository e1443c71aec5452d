"""When a report is due. Pure."""

from skerry_agent.sync.limits import SyncLimits
from skerry_protocol.reported import TERMINAL_STATES, ReportedState


def contents(report: ReportedState) -> tuple[object, ...]:
    """What makes two reports different: everything but the counter and the time."""
    return (
        report.desired,
        report.slots,
        report.configs,
        report.inventory,
        report.metadata_versions,
        report.trust_epoch,
        report.unsigned,
        report.agent_version,
    )


def due_in_s(
    published: ReportedState | None, current: ReportedState, since_s: float, limits: SyncLimits
) -> float:
    """Seconds until ``current`` should be published; 0 is now.

    A slot that came to rest, or another accepted desired state, is told at once; progress at most every
    ``report_interval_s``; what did not change every ``heartbeat_s``.

    Args:
        published: The last published report of this session.
        current: What would be published.
        since_s: Time since ``published``.
        limits: Times.
    """
    if published is None:
        return 0.0
    if contents(published) == contents(current):
        return max(0.0, limits.heartbeat_s - since_s)
    if published.desired != current.desired or _came_to_rest(published, current):
        return 0.0
    return max(0.0, limits.report_interval_s - since_s)


def _came_to_rest(published: ReportedState, current: ReportedState) -> bool:
    for name, slot in current.slots.items():
        before = published.slots.get(name)
        if slot.state in TERMINAL_STATES and (before is None or before.state != slot.state):
            return True
        if before is not None and before.active != slot.active:
            return True
    return published.slots.keys() - current.slots.keys() != set()

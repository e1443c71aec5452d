"""The device's durable queue of samples, events and audit records, until the controller acknowledged them."""

from skerry_agent.outbox.batch import PendingBatch
from skerry_agent.outbox.limits import OutboxLimits
from skerry_agent.outbox.outbox import Clock, Outbox
from skerry_agent.outbox.store import LoggedEvent, OutboxStats

__all__ = ["Clock", "LoggedEvent", "Outbox", "OutboxLimits", "OutboxStats", "PendingBatch"]

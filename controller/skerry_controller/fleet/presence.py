"""Whether a device can be reached, in the words that people read."""

from datetime import datetime
from typing import Literal

Presence = Literal["online", "offline", "never seen"]


def presence(*, online: bool, last_seen_at: datetime | None) -> Presence:
    """Online means: connected to the broker now, as far as the broker says."""
    if online:
        return "online"
    return "offline" if last_seen_at is not None else "never seen"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago, in one unit: ``12 s``, ``5 min``, ``3 h``, ``9 d``."""
    if moment is None:
        return "never"
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"

"""Whether a device can be reached, in the words that people read."""

from datetime import datetime
from typing import Literal

Presence = Literal["online", "offline", "never seen"]


def presence(*, online: bool, last_seen_at: datetime | None) -> Presence:
    """Online means: connected to the broker now, as far as the broker says."""
    if online:
        return "online"
    return "offline" if last_seen_at is not None else "never seen"

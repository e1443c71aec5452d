"""Events of updates: what came to an end, and why."""

from skerry_agent.events import EventSink
from skerry_agent.updates.record import SlotRecord
from skerry_protocol.records import Value  # noqa: TC001 - also annotates a local
from skerry_protocol.reported import Reason

_DOWNLOAD_CODES = frozenset({"chunk_mismatch", "file_mismatch"})


async def announce(events: EventSink, before: SlotRecord, after: SlotRecord, generation: str) -> None:
    """Emit the event of a slot that came to an end, if it did."""
    if after.state not in ("committed", "rolled_back", "refused") or after.target is None:
        return
    data: dict[str, Value] = {
        "slot": after.slot,
        "target": after.target.path,
        "attempt": after.attempt,
        "generation": generation,
    }
    if after.reason is not None:
        data |= {"code": after.reason.code, "message": after.reason.message}
    figures: dict[str, Value] = dict(after.figures)
    if after.state == "committed":
        await events.emit("update_committed", audit=True, **{**figures, **data})
    elif after.state == "rolled_back":
        await events.emit("update_rolled_back", audit=True, **{**figures, **data})
    else:
        await events.emit(_refusal(before, after.reason), audit=True, **data)


def _refusal(before: SlotRecord, reason: Reason | None) -> str:
    if reason is not None and reason.code in _DOWNLOAD_CODES:
        return "download_refused"
    return "target_refused" if before.state == "resolving" else "update_refused"

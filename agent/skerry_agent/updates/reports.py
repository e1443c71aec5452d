"""The slots as the controller sees them. Pure."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from skerry_agent.registry import Pair, Slot
from skerry_agent.updates.record import SlotRecord
from skerry_agent.updates.table import reported_state
from skerry_protocol.reported import RunningAdapter, RunningVersion, SlotReport


class Live(NamedTuple):
    """What is true of a slot just now, and not stored.

    Attributes:
        bytes_per_s: How fast its download comes over a network.
        source: From which source.
        waits_until: When it is gone on with, Unix seconds.
    """

    bytes_per_s: int = 0
    source: str | None = None
    waits_until: int | None = None


def build_reports(
    records: Mapping[str, SlotRecord], slots: Mapping[str, Slot], live: Callable[[SlotRecord], Live]
) -> dict[str, SlotReport]:
    """Slot -> report, for every slot that serves something or has an update."""
    reports = {}
    for name in sorted({*records, *slots}):
        record = records.get(name, SlotRecord(slot=name))
        reports[name] = _report(record, slots.get(name, Slot(name)), live(record))
    return reports


def _report(record: SlotRecord, slot: Slot, live: Live) -> SlotReport:
    return SlotReport(
        state=reported_state(record.state),
        active=None if slot.serving is None else _running(slot.serving),
        target_path=None if record.target is None else record.target.path,
        target_sha256=None if record.target is None else record.target.sha256,
        attempt=record.attempt,
        bytes_done=record.bytes_done,
        bytes_total=record.bytes_total,
        bytes_fetched=record.bytes_fetched,
        bytes_metadata=record.bytes_metadata,
        reason=record.reason,
        figures=record.figures,
        bytes_per_s=live.bytes_per_s,
        source=live.source,
        waits_until=live.waits_until,
        adapters=tuple(adapter.sha256 for adapter in record.adapters),
    )


def _running(pair: Pair) -> RunningVersion:
    return RunningVersion(
        ref=pair.model.ref,
        target_sha256=pair.model.target_sha256,
        file_sha256=pair.model.file_sha256,
        signed=pair.model.signed,
        adapters=tuple(
            RunningAdapter(ref=a.ref, target_sha256=a.target_sha256, file_sha256=a.file_sha256)
            for a in pair.adapters
        ),
    )

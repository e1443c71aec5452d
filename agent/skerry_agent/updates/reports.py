"""The slots as the controller sees them. Pure."""

from collections.abc import Mapping

from skerry_agent.registry import InstalledArtifact, Slot
from skerry_agent.updates.record import SlotRecord
from skerry_protocol.reported import RunningVersion, SlotReport


def build_reports(records: Mapping[str, SlotRecord], slots: Mapping[str, Slot]) -> dict[str, SlotReport]:
    """Slot -> report, for every slot that serves something or has an update."""
    return {
        name: _report(records.get(name, SlotRecord(slot=name)), slots.get(name, Slot(name)))
        for name in sorted({*records, *slots})
    }


def _report(record: SlotRecord, slot: Slot) -> SlotReport:
    return SlotReport(
        state=record.state,
        active=None if slot.active is None else _running(slot.active),
        target_path=None if record.target is None else record.target.path,
        target_sha256=None if record.target is None else record.target.sha256,
        attempt=record.attempt,
        bytes_done=record.bytes_done,
        bytes_total=record.bytes_total,
        bytes_fetched=record.bytes_fetched,
        reason=record.reason,
        figures=record.figures,
    )


def _running(artifact: InstalledArtifact) -> RunningVersion:
    return RunningVersion(
        ref=artifact.ref,
        target_sha256=artifact.target_sha256,
        file_sha256=artifact.file_sha256,
        signed=artifact.signed,
    )

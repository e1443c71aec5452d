"""Telemetry: samples, events and audit records of devices, taken in once and read back."""

from skerry_controller.telemetry.ingest import TelemetryIngest
from skerry_controller.telemetry.queries import LogEntry, Point, RecordCounts, Telemetry
from skerry_controller.telemetry.store import StoredBatch

__all__ = ["LogEntry", "Point", "RecordCounts", "StoredBatch", "Telemetry", "TelemetryIngest"]

"""Telemetry samples, events and audit records of devices: each once, and what was lost, counted."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from skerry_controller.database.base import Base, DeviceId


class RecordRow(Base):
    """One record, named for ever by (device, stream, sequence)."""

    __tablename__ = "records"
    __table_args__ = (
        Index(None, "device_id", "kind", "at_ms"),
        Index(None, "kind", "at_ms"),
    )

    device_id: Mapped[str] = mapped_column(DeviceId, ForeignKey("devices.id"), primary_key=True)
    stream: Mapped[str] = mapped_column(String(64), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(128))
    at_ms: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[dict[str, Any]]
    received_at: Mapped[datetime]


class GoneRangeRow(Base):
    """Sequence numbers (inclusive) of a stream that the device had to drop."""

    __tablename__ = "gone_ranges"

    device_id: Mapped[str] = mapped_column(DeviceId, ForeignKey("devices.id"), primary_key=True)
    stream: Mapped[str] = mapped_column(String(64), primary_key=True)
    first: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    last: Mapped[int] = mapped_column(BigInteger)

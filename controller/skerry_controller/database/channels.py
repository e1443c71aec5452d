"""Channels, what each device is assigned on them, and config bundles by selector."""

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from skerry_controller.database.base import Base, BigIdentity, DeviceId, TargetPath


class ChannelRow(Base):
    """A line of versions that the devices matching ``selector`` follow."""

    __tablename__ = "channels"

    name: Mapped[str] = mapped_column(String(129), primary_key=True)
    selector: Mapped[str] = mapped_column(String(1024))
    current_target_path: Mapped[str | None] = mapped_column(ForeignKey("artifacts.target_path"))
    current_adapter_paths: Mapped[list[str]] = mapped_column(default=list)
    created_at: Mapped[datetime]


class AssignmentRow(Base):
    """What one device should run on one channel, and which rollout said so."""

    __tablename__ = "assignments"

    device_id: Mapped[str] = mapped_column(DeviceId, ForeignKey("devices.id"), primary_key=True)
    channel: Mapped[str] = mapped_column(ForeignKey("channels.name"), primary_key=True)
    target_path: Mapped[str] = mapped_column(TargetPath, ForeignKey("artifacts.target_path"), index=True)
    adapter_paths: Mapped[list[str]] = mapped_column(default=list)
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    rollout_id: Mapped[str | None] = mapped_column(ForeignKey("rollouts.id"), index=True)
    wave: Mapped[int | None]
    assigned_at: Mapped[datetime]


class ConfigAssignmentRow(Base):
    """A config bundle for the devices that a selector matches; applied in the order of ``position``."""

    __tablename__ = "config_assignments"
    __table_args__ = (UniqueConstraint("selector", "target_path"),)

    id: Mapped[int] = mapped_column(BigIdentity, primary_key=True, autoincrement=True)
    selector: Mapped[str] = mapped_column(String(1024))
    target_path: Mapped[str] = mapped_column(ForeignKey("artifacts.target_path"))
    position: Mapped[int]

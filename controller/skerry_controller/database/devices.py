"""Enrolled devices: identity, what each last reported, and what it was last told."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from skerry_controller.database.base import Base, DeviceId, Sha256


class DeviceRow(Base):
    """One device.

    ``reported`` is the newest accepted report as plain JSON, with ``boot_id`` and ``counter`` beside it
    for conditional updates. ``desired_envelope`` is the sealed desired state that was allocated
    (``desired_epoch``, ``desired_number``); ``desired_sha256`` is the hash that the device's report gives
    for it, ``desired_content_sha256`` that of the content without generation, id and times: when that
    is unchanged, no new generation is needed.
    """

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(DeviceId, primary_key=True)
    enrolled_at: Mapped[datetime]
    token_id: Mapped[str | None] = mapped_column(ForeignKey("enrollment_tokens.id"))
    public_key_pem: Mapped[str] = mapped_column(Text)
    certificate_pem: Mapped[str] = mapped_column(Text)
    labels: Mapped[dict[str, str]]
    inventory: Mapped[dict[str, Any]]
    online: Mapped[bool] = mapped_column(default=False)
    last_seen_at: Mapped[datetime | None]
    reported: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    reported_at: Mapped[datetime | None]
    boot_id: Mapped[str | None] = mapped_column(String(64))
    counter: Mapped[int] = mapped_column(BigInteger, default=-1)
    desired_epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    desired_number: Mapped[int] = mapped_column(BigInteger, default=0)
    desired_sha256: Mapped[str | None] = mapped_column(Sha256)
    desired_envelope: Mapped[bytes | None] = mapped_column(LargeBinary)
    desired_content_sha256: Mapped[str | None] = mapped_column(Sha256)
    revoked_at: Mapped[datetime | None]


class DeviceBootRow(Base):
    """How far the reports of one boot of a device were taken, so that none is taken twice."""

    __tablename__ = "device_boots"

    device_id: Mapped[str] = mapped_column(DeviceId, ForeignKey("devices.id"), primary_key=True)
    boot_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    counter: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[datetime]

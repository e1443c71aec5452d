"""The controller's own audit log: who did what to what."""

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from skerry_controller.database.base import Base, BigIdentity


class AuditRow(Base):
    """One entry. ``actor`` is ``admin:LABEL``, ``device:ID``, ``token:ID`` or ``system``."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigIdentity, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(160))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(256))
    detail: Mapped[dict[str, Any]]

"""Who may come in: administrators' tokens, and one-time enrollment tokens. Secrets only as hashes."""

from datetime import datetime

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from skerry_controller.database.base import Base, Sha256


class AdminTokenRow(Base):
    """A bearer token of the operator API."""

    __tablename__ = "admin_tokens"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    label: Mapped[str] = mapped_column(String(128))
    secret_sha256: Mapped[str] = mapped_column(Sha256, unique=True)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class EnrollmentTokenRow(Base):
    """A token with which ``uses_left`` more devices may enroll, getting its labels."""

    __tablename__ = "enrollment_tokens"
    __table_args__ = (CheckConstraint("uses_left >= 0", name="uses_left"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    secret_sha256: Mapped[str] = mapped_column(Sha256, unique=True)
    labels: Mapped[dict[str, str]]
    uses_left: Mapped[int]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

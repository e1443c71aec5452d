"""Published deltas: which pack belongs to which file."""

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from skerry_controller.database.base import Base, Sha256


class DeltaRow(Base):
    """One delta index. Withdrawn with the file that it makes cheaper: then its pack is gone."""

    __tablename__ = "deltas"

    target_path: Mapped[str] = mapped_column(String(256), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    file_sha256: Mapped[str] = mapped_column(Sha256, index=True)
    base_sha256: Mapped[str | None] = mapped_column(Sha256)
    pack_sha256: Mapped[str] = mapped_column(Sha256, index=True)
    pack_length: Mapped[int] = mapped_column(BigInteger)
    pieces: Mapped[int]
    published_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]

"""Rollouts: a channel moving from one version to another, in waves."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from skerry_controller.database.base import Base


class RolloutRow(Base):
    """One rollout. ``wave`` is the index of the current wave; ``wave_done_at`` starts its soak time."""

    __tablename__ = "rollouts"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    channel: Mapped[str] = mapped_column(ForeignKey("channels.name"), index=True)
    to_target_path: Mapped[str] = mapped_column(ForeignKey("artifacts.target_path"))
    from_target_path: Mapped[str | None] = mapped_column(ForeignKey("artifacts.target_path"))
    to_adapter_paths: Mapped[list[str]] = mapped_column(default=list)
    from_adapter_paths: Mapped[list[str]] = mapped_column(default=list)
    waves: Mapped[list[Any]]
    max_failures: Mapped[str] = mapped_column(String(16))
    soak_s: Mapped[float] = mapped_column(Float)
    window: Mapped[str | None] = mapped_column(String(128))
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    wave: Mapped[int] = mapped_column(default=0)
    wave_done_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

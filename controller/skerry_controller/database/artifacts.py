"""Published artifacts: what their signed targets say, for looking up and listing."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from skerry_controller.database.base import Base, Sha256, TargetPath


class ArtifactRow(Base):
    """One artifact. ``content`` is its target (manifest or config bundle), byte for byte.

    ``files`` are those of its variants, the first match first; ``file_sha256`` and ``file_length`` are of the
    last one, which serves where no other does; ``None`` for config bundles. A withdrawn artifact has no blobs
    any more, but its name and version stay taken.
    """

    __tablename__ = "artifacts"
    __table_args__ = (UniqueConstraint("name", "version"),)

    target_path: Mapped[str] = mapped_column(TargetPath, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))
    target_sha256: Mapped[str] = mapped_column(Sha256)
    target_length: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    file_sha256: Mapped[str | None] = mapped_column(Sha256, index=True)
    file_length: Mapped[int | None] = mapped_column(BigInteger)
    license: Mapped[str | None] = mapped_column(String(256))
    description: Mapped[dict[str, Any]]
    published_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    files: Mapped[list["ArtifactFileRow"]] = relationship(
        lazy="selectin", order_by="ArtifactFileRow.position", cascade="all, delete-orphan"
    )

    def has_file(self, sha256: object) -> bool:
        """Whether one of its variants is this file."""
        return any(file.sha256 == sha256 for file in self.files)


class ArtifactFileRow(Base):
    """The file of one variant of an artifact."""

    __tablename__ = "artifact_files"

    target_path: Mapped[str] = mapped_column(ForeignKey("artifacts.target_path"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    selector: Mapped[str] = mapped_column(String(1024))
    sha256: Mapped[str] = mapped_column(Sha256, index=True)
    length: Mapped[int] = mapped_column(BigInteger)

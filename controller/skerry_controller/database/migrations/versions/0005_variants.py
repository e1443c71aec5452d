"""The files of artifacts, one for each variant."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and fill it from artifacts that have one variant."""
    op.create_table(
        "artifact_files",
        sa.Column("target_path", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("selector", sa.String(length=1024), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["target_path"],
            ["artifacts.target_path"],
            name=op.f("fk_artifact_files_target_path_artifacts"),
        ),
        sa.PrimaryKeyConstraint("target_path", "position", name=op.f("pk_artifact_files")),
    )
    op.create_index(op.f("ix_artifact_files_sha256"), "artifact_files", ["sha256"], unique=False)
    op.execute(
        "INSERT INTO artifact_files (target_path, position, selector, sha256, length) "
        "SELECT target_path, 0, '', file_sha256, file_length FROM artifacts WHERE file_sha256 IS NOT NULL"
    )

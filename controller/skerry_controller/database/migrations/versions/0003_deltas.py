"""Published deltas."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "deltas",
        sa.Column("target_path", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("file_sha256", sa.String(length=64), nullable=False),
        sa.Column("base_sha256", sa.String(length=64), nullable=True),
        sa.Column("pack_sha256", sa.String(length=64), nullable=False),
        sa.Column("pack_length", sa.BigInteger(), nullable=False),
        sa.Column("pieces", sa.Integer(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("target_path", name=op.f("pk_deltas")),
    )
    op.create_index(op.f("ix_deltas_file_sha256"), "deltas", ["file_sha256"], unique=False)
    op.create_index(op.f("ix_deltas_pack_sha256"), "deltas", ["pack_sha256"], unique=False)

"""How far the reports of each boot were taken."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and remember the boot that each device is in."""
    op.create_table(
        "device_boots",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("boot_id", sa.String(length=64), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_device_boots_device_id_devices")
        ),
        sa.PrimaryKeyConstraint("device_id", "boot_id", name=op.f("pk_device_boots")),
    )
    op.execute(
        "INSERT INTO device_boots (device_id, boot_id, counter, seen_at)"
        " SELECT id, boot_id, counter, coalesce(reported_at, enrolled_at) FROM devices"
        " WHERE boot_id IS NOT NULL"
    )

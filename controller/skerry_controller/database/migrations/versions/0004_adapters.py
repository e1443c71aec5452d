"""Adapters on the models of channels, assignments and rollouts: target paths, in order."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = (
    ("channels", "current_adapter_paths"),
    ("assignments", "adapter_paths"),
    ("rollouts", "to_adapter_paths"),
    ("rollouts", "from_adapter_paths"),
)


def upgrade() -> None:
    """Add the columns; whatever there was had no adapters."""
    for table, column in COLUMNS:
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column(column, sa.JSON(), nullable=False, server_default="[]"))

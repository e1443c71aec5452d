"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "admin_tokens",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_tokens")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_admin_tokens_secret_sha256")),
    )
    op.create_table(
        "artifacts",
        sa.Column("target_path", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("target_sha256", sa.String(length=64), nullable=False),
        sa.Column("target_length", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("file_sha256", sa.String(length=64), nullable=True),
        sa.Column("file_length", sa.BigInteger(), nullable=True),
        sa.Column("license", sa.String(length=256), nullable=True),
        sa.Column("description", sa.JSON(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("target_path", name=op.f("pk_artifacts")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_artifacts_name_version")),
    )
    op.create_index(op.f("ix_artifacts_file_sha256"), "artifacts", ["file_sha256"], unique=False)
    op.create_table(
        "audit",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=160), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=256), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_table(
        "enrollment_tokens",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("uses_left >= 0", name=op.f("ck_enrollment_tokens_uses_left")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrollment_tokens")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_enrollment_tokens_secret_sha256")),
    )
    op.create_table(
        "channels",
        sa.Column("name", sa.String(length=129), nullable=False),
        sa.Column("selector", sa.String(length=1024), nullable=False),
        sa.Column("current_target_path", sa.String(length=128), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["current_target_path"],
            ["artifacts.target_path"],
            name=op.f("fk_channels_current_target_path_artifacts"),
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_channels")),
    )
    op.create_table(
        "config_assignments",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("selector", sa.String(length=1024), nullable=False),
        sa.Column("target_path", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["target_path"],
            ["artifacts.target_path"],
            name=op.f("fk_config_assignments_target_path_artifacts"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_config_assignments")),
        sa.UniqueConstraint(
            "selector", "target_path", name=op.f("uq_config_assignments_selector_target_path")
        ),
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("token_id", sa.String(length=32), nullable=True),
        sa.Column("public_key_pem", sa.Text(), nullable=False),
        sa.Column("certificate_pem", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("inventory", sa.JSON(), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reported", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("boot_id", sa.String(length=64), nullable=True),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("desired_epoch", sa.BigInteger(), nullable=False),
        sa.Column("desired_number", sa.BigInteger(), nullable=False),
        sa.Column("desired_sha256", sa.String(length=64), nullable=True),
        sa.Column("desired_envelope", sa.LargeBinary(), nullable=True),
        sa.Column("desired_content_sha256", sa.String(length=64), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["token_id"], ["enrollment_tokens.id"], name=op.f("fk_devices_token_id_enrollment_tokens")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
    )
    op.create_table(
        "gone_ranges",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("stream", sa.String(length=64), nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_gone_ranges_device_id_devices")),
        sa.PrimaryKeyConstraint("device_id", "stream", "first", name=op.f("pk_gone_ranges")),
    )
    op.create_table(
        "records",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("stream", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_records_device_id_devices")),
        sa.PrimaryKeyConstraint("device_id", "stream", "sequence", name=op.f("pk_records")),
    )
    op.create_index(
        op.f("ix_records_device_id_kind_at_ms"), "records", ["device_id", "kind", "at_ms"], unique=False
    )
    op.create_index(op.f("ix_records_kind_at_ms"), "records", ["kind", "at_ms"], unique=False)
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=129), nullable=False),
        sa.Column("to_target_path", sa.String(length=128), nullable=False),
        sa.Column("from_target_path", sa.String(length=128), nullable=True),
        sa.Column("waves", sa.JSON(), nullable=False),
        sa.Column("max_failures", sa.String(length=16), nullable=False),
        sa.Column("soak_s", sa.Float(), nullable=False),
        sa.Column("window", sa.String(length=128), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("wave_done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["channel"], ["channels.name"], name=op.f("fk_rollouts_channel_channels")),
        sa.ForeignKeyConstraint(
            ["from_target_path"],
            ["artifacts.target_path"],
            name=op.f("fk_rollouts_from_target_path_artifacts"),
        ),
        sa.ForeignKeyConstraint(
            ["to_target_path"], ["artifacts.target_path"], name=op.f("fk_rollouts_to_target_path_artifacts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
    )
    op.create_index(op.f("ix_rollouts_channel"), "rollouts", ["channel"], unique=False)
    op.create_index(op.f("ix_rollouts_state"), "rollouts", ["state"], unique=False)
    op.create_table(
        "assignments",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=129), nullable=False),
        sa.Column("target_path", sa.String(length=128), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("rollout_id", sa.String(length=32), nullable=True),
        sa.Column("wave", sa.Integer(), nullable=True),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["channel"], ["channels.name"], name=op.f("fk_assignments_channel_channels")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_assignments_device_id_devices")),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name=op.f("fk_assignments_rollout_id_rollouts")
        ),
        sa.ForeignKeyConstraint(
            ["target_path"], ["artifacts.target_path"], name=op.f("fk_assignments_target_path_artifacts")
        ),
        sa.PrimaryKeyConstraint("device_id", "channel", name=op.f("pk_assignments")),
    )
    op.create_index(op.f("ix_assignments_rollout_id"), "assignments", ["rollout_id"], unique=False)
    op.create_index(op.f("ix_assignments_target_path"), "assignments", ["target_path"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_index(op.f("ix_assignments_target_path"), table_name="assignments")
    op.drop_index(op.f("ix_assignments_rollout_id"), table_name="assignments")
    op.drop_table("assignments")
    op.drop_index(op.f("ix_rollouts_state"), table_name="rollouts")
    op.drop_index(op.f("ix_rollouts_channel"), table_name="rollouts")
    op.drop_table("rollouts")
    op.drop_index(op.f("ix_records_kind_at_ms"), table_name="records")
    op.drop_index(op.f("ix_records_device_id_kind_at_ms"), table_name="records")
    op.drop_table("records")
    op.drop_table("gone_ranges")
    op.drop_table("devices")
    op.drop_table("config_assignments")
    op.drop_table("channels")
    op.drop_table("enrollment_tokens")
    op.drop_index(op.f("ix_audit_at"), table_name="audit")
    op.drop_table("audit")
    op.drop_index(op.f("ix_artifacts_file_sha256"), table_name="artifacts")
    op.drop_table("artifacts")
    op.drop_table("admin_tokens")

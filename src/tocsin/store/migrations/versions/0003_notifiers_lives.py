"""What is known of a notifier that fails, what its owner set for its deliveries, and first attempts by themselves."""

import sqlalchemy as sa
from alembic import op

from tocsin.store.schema import Instant

revision = "0003"
down_revision = "0002"

IS_NEW = "state = 'pending' AND attempt_count = 0"
HAS_END = "held_until IS NOT NULL"


def upgrade() -> None:
    for column in (
        sa.Column("rate_per_second", sa.Double()),
        sa.Column("retry_schedule", sa.JSON()),
        sa.Column("expires_after", sa.Integer()),
        sa.Column("failing_since", Instant()),
        sa.Column("failed_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("trip_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("probe_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("told_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("recovered_at", Instant()),
        sa.Column("is_fallback", sa.Boolean(), server_default=sa.false(), nullable=False),
    ):
        op.add_column("notifiers", column)
    op.create_index(
        "notifiers_until",
        "notifiers",
        ["held_until"],
        sqlite_where=sa.text(HAS_END),
        postgresql_where=sa.text(HAS_END),
    )
    op.create_index(
        "deliveries_due_new",
        "deliveries",
        ["notifier_id", "next_attempt_at", "id"],
        sqlite_where=sa.text(IS_NEW),
        postgresql_where=sa.text(IS_NEW),
    )

"""The ground floor: users, apps, notifiers, alerts, events, deliveries and their attempts."""

import sqlalchemy as sa
from alembic import op

from tocsin.store.schema import TEXT, Instant

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("delivery_id", TEXT, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("delivery_id", "number"),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (delivery_id)",
    )
    op.create_table(
        "deliveries",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("app_id", TEXT, nullable=False),
        sa.Column("event_id", TEXT, nullable=False),
        sa.Column("event_type", TEXT, nullable=False),
        sa.Column("notifier_id", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("lost_lease_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", Instant(), nullable=True),
        sa.Column("lease_token", TEXT, nullable=True),
        sa.Column("claimed_at", Instant(), nullable=True),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.Column("replay_of", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("deliveries_by_app", "deliveries", ["app_id", "id"], unique=False)
    op.create_index("deliveries_by_notifier", "deliveries", ["notifier_id", "id"], unique=False)
    op.create_index(
        "deliveries_due",
        "deliveries",
        ["notifier_id", "next_attempt_at", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "deliveries_expiring",
        "deliveries",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "deliveries_first",
        "deliveries",
        ["event_id", "notifier_id"],
        unique=True,
        sqlite_where=sa.text("replay_of IS NULL"),
        postgresql_where=sa.text("replay_of IS NULL"),
    )
    op.create_index(
        "deliveries_leased",
        "deliveries",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state = 'sending'"),
        postgresql_where=sa.text("state = 'sending'"),
    )
    op.create_index(
        "deliveries_replays",
        "deliveries",
        ["event_id", "notifier_id"],
        unique=False,
        sqlite_where=sa.text("replay_of IS NOT NULL"),
        postgresql_where=sa.text("replay_of IS NOT NULL"),
    )
    op.create_table(
        "events",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("app_id", TEXT, nullable=True),
        sa.Column("user_id", TEXT, nullable=True),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("events_by_app", "events", ["app_id", "id"], unique=False)
    op.create_index(
        "events_by_user",
        "events",
        ["user_id", "id"],
        unique=False,
        sqlite_where=sa.text("app_id IS NULL"),
        postgresql_where=sa.text("app_id IS NULL"),
    )
    op.create_table(
        "fanouts",
        sa.Column("event_id", TEXT, nullable=False),
        sa.Column("app_id", TEXT, nullable=False),
        sa.Column("notifier_ids", sa.JSON(), nullable=False),
        sa.Column("done_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("app_id", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("event_ids", TEXT, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("app_id", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("username", TEXT, nullable=False),
        sa.Column("email", TEXT, nullable=False),
        sa.Column("fullname", sa.Text(), server_default="", nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("is_admin", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email"),
        sa.UniqueConstraint("username"),
    )
    op.create_table(
        "apps",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=True),
        sa.Column("owner_id", TEXT, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_index(op.f("ix_apps_owner_id"), "apps", ["owner_id"], unique=False)
    op.create_table(
        "sign_in_links",
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("secret_hash"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("secret_hash"),
    )
    op.create_index(op.f("ix_tokens_user_id"), "tokens", ["user_id"], unique=False)
    op.create_table(
        "alerts",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("app_id", TEXT, nullable=False),
        sa.Column("container_type", TEXT, nullable=False),
        sa.Column("metric", TEXT, nullable=False),
        sa.Column("limit", sa.Double(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("send_when_below", sa.Boolean(), nullable=False),
        sa.Column("duration_before_trigger", sa.BigInteger(), nullable=False),
        sa.Column("remind_every", sa.BigInteger(), nullable=False),
        sa.Column("notifiers", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_alerts_app_id"), "alerts", ["app_id"], unique=False)
    op.create_table(
        "collaborators",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("app_id", TEXT, nullable=False),
        sa.Column("email", TEXT, nullable=False),
        sa.Column("user_id", TEXT, nullable=True),
        sa.Column("is_limited", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("app_id", "email"),
    )
    op.create_index(op.f("ix_collaborators_email"), "collaborators", ["email"], unique=False)
    op.create_index(op.f("ix_collaborators_user_id"), "collaborators", ["user_id"], unique=False)
    op.create_table(
        "notifiers",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("app_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("platform", TEXT, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("state", TEXT, server_default="active", nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("held_until", Instant(), nullable=True),
        sa.Column("send_all_alerts", sa.Boolean(), nullable=False),
        sa.Column("send_all_events", sa.Boolean(), nullable=False),
        sa.Column("selected_event_ids", sa.JSON(), nullable=False),
        sa.Column("type_data", sa.JSON(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_notifiers_app_id"), "notifiers", ["app_id"], unique=False)
    op.create_table(
        "variables",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("app_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("app_id", "name"),
    )
    if op.get_context().dialect.name == "postgresql":
        for table in ("events", "attempts"):
            op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")

"""The tables, for every database; migrations are written from them and hot statements name them in SQL.

Rows that change with every delivery are kept narrow; what an event says stands once, in `events.body`.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(at: datetime) -> int:
    """Microseconds since 1970, as SQLite keeps instants."""
    return (at - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime: microseconds since 1970 in SQLite, `timestamptz` elsewhere."""

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "sqlite":
            return sa.BigInteger()
        return sa.DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | int | None:
        if value is None or dialect.name != "sqlite":
            return value
        return to_micros(value)

    def process_result_value(self, value: int | datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - named by the protocol it implements
        if value is None or isinstance(value, datetime):
            return value
        return from_micros(value)


metadata = sa.MetaData()


def _ref(target: str) -> sa.ForeignKey:
    return sa.ForeignKey(target, ondelete="CASCADE")


users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("username", sa.Text, nullable=False, unique=True),
    sa.Column("email", sa.Text, nullable=False, unique=True),
    sa.Column("fullname", sa.Text, nullable=False, server_default=""),
    sa.Column("password_hash", sa.Text),
    sa.Column("is_admin", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", Instant, nullable=False),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, _ref("users.id"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("last_used_at", Instant),
)

sign_in_links = sa.Table(
    "sign_in_links",
    metadata,
    sa.Column("secret_hash", sa.LargeBinary, primary_key=True),
    sa.Column("user_id", sa.Text, _ref("users.id"), nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
)

# A removed app keeps its row, without a name, for its events and deliveries refer to it.
apps = sa.Table(
    "apps",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, unique=True),
    sa.Column("owner_id", sa.Text, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("removed_at", Instant),
)

variables = sa.Table(
    "variables",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("app_id", sa.Text, _ref("apps.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.UniqueConstraint("app_id", "name"),
)

collaborators = sa.Table(
    "collaborators",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("app_id", sa.Text, _ref("apps.id"), nullable=False),
    sa.Column("email", sa.Text, nullable=False, index=True),
    sa.Column("user_id", sa.Text, _ref("users.id"), index=True),
    sa.Column("is_limited", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", Instant, nullable=False),
    sa.UniqueConstraint("app_id", "email"),
)

# A removed notifier keeps its row, for the delivery log names it.
notifiers = sa.Table(
    "notifiers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("app_id", sa.Text, _ref("apps.id"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("platform", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="active"),
    sa.Column("state_reason", sa.Text),
    sa.Column("held_until", Instant),
    sa.Column("send_all_alerts", sa.Boolean, nullable=False),
    sa.Column("send_all_events", sa.Boolean, nullable=False),
    sa.Column("selected_event_ids", sa.JSON, nullable=False),
    sa.Column("type_data", sa.JSON, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("removed_at", Instant),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("app_id", sa.Text, _ref("apps.id"), nullable=False, index=True),
    sa.Column("container_type", sa.Text, nullable=False),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("limit", sa.Double, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("send_when_below", sa.Boolean, nullable=False),
    sa.Column("duration_before_trigger", sa.BigInteger, nullable=False),
    sa.Column("remind_every", sa.BigInteger, nullable=False),
    sa.Column("notifiers", sa.JSON, nullable=False),
    sa.Column("metadata", sa.JSON),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
)

# `body` is the event object as clients and webhooks get it: the same bytes everywhere, for ever.
events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("app_id", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("events_by_app", "app_id", "id"),
    sa.Index(
        "events_by_user",
        "user_id",
        "id",
        sqlite_where=sa.text("app_id IS NULL"),
        postgresql_where=sa.text("app_id IS NULL"),
    ),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("app_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("event_ids", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# The recorded duty to make one event's deliveries for many notifiers, worked off in steps.
fanouts = sa.Table(
    "fanouts",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("app_id", sa.Text, nullable=False),
    sa.Column("notifier_ids", sa.JSON, nullable=False),
    sa.Column("done_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_at", Instant, nullable=False),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("app_id", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("notifier_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("attempt_count", sa.Integer, nullable=False),
    sa.Column("lost_lease_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_attempt_at", Instant),
    sa.Column("lease_token", sa.Text),
    sa.Column("claimed_at", Instant),
    sa.Column("lease_until", Instant),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("finished_at", Instant),
    sa.Column("replay_of", sa.Text),
    sa.Index("deliveries_by_app", "app_id", "id"),
    sa.Index("deliveries_by_notifier", "notifier_id", "id"),
    sa.Index(
        "deliveries_first",
        "event_id",
        "notifier_id",
        unique=True,
        sqlite_where=sa.text("replay_of IS NULL"),
        postgresql_where=sa.text("replay_of IS NULL"),
    ),
    sa.Index(
        "deliveries_replays",
        "event_id",
        "notifier_id",
        sqlite_where=sa.text("replay_of IS NOT NULL"),
        postgresql_where=sa.text("replay_of IS NOT NULL"),
    ),
    sa.Index(
        "deliveries_expiring",
        "expires_at",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    ),
    sa.Index(
        "deliveries_due",
        "notifier_id",
        "next_attempt_at",
        "id",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    ),
    sa.Index(
        "deliveries_leased",
        "lease_until",
        sqlite_where=sa.text("state = 'sending'"),
        postgresql_where=sa.text("state = 'sending'"),
    ),
    sqlite_with_rowid=False,
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("delivery_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("duration_ms", sa.Integer),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("response_status", sa.Integer),
    sa.Column("response_body", sa.Text),
    sa.Column("error", sa.Text),
    sqlite_with_rowid=False,
)

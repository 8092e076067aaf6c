"""The tables, for every database; migrations are written from them and hot statements name them in SQL.

What is under way stands apart from what is over, so that it stays small; what an event says stands once, in
`events.body`. On PostgreSQL the tables that only grow are partitioned by their ids, which are in order of time.
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


TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Ids, names and words: every database compares and orders them by their bytes."""


def _only(condition: str) -> dict[str, Any]:
    """An index over the rows that meet a condition."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def _ref(target: str) -> sa.ForeignKey:
    return sa.ForeignKey(target, ondelete="CASCADE")


users = sa.Table(
    "users",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("username", TEXT, nullable=False, unique=True),
    sa.Column("email", TEXT, nullable=False, unique=True),
    sa.Column("fullname", sa.Text, nullable=False, server_default=""),
    sa.Column("password_hash", sa.Text),
    sa.Column("is_admin", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("language", TEXT),
    sa.Column("time_zone", TEXT),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("user_id", TEXT, _ref("users.id"), nullable=False, index=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("secret_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("last_used_at", Instant),
    sa.Column("scopes", sa.JSON(none_as_null=True)),
    sa.Column("app_ids", sa.JSON(none_as_null=True)),
    sa.Column("expires_at", Instant),
)

sign_in_links = sa.Table(
    "sign_in_links",
    metadata,
    sa.Column("secret_hash", sa.LargeBinary, primary_key=True),
    sa.Column("user_id", TEXT, _ref("users.id"), nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
)

# `expires_at` moves on as a session is used.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("user_id", TEXT, _ref("users.id"), nullable=False, index=True),
    sa.Column("secret_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("last_used_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False, index=True),
    sa.Column("address", TEXT),
    sa.Column("device", TEXT, nullable=False),
)

# Whoever asks for a code has a row, also under a name that nobody has: then without a user.
sign_in_codes = sa.Table(
    "sign_in_codes",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("browser_hash", sa.LargeBinary, nullable=False, index=True),
    sa.Column("name_hash", sa.LargeBinary, nullable=False, index=True),
    sa.Column("user_id", TEXT, _ref("users.id"), index=True),
    sa.Column("code_hash", sa.LargeBinary, nullable=False),
    sa.Column("tries_left", sa.Integer, nullable=False),
    sa.Column("address", TEXT, nullable=False, index=True),
    sa.Column("expires_at", Instant, nullable=False, index=True),
)

# A removed app keeps its row, without a name, for its events and deliveries refer to it. `routes_version` is for
# databases with many processes: triggers raise it when the app's notifiers or alert rules change.
apps = sa.Table(
    "apps",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("name", TEXT, unique=True),
    sa.Column("owner_id", TEXT, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("removed_at", Instant),
    sa.Column("routes_version", sa.Integer, nullable=False, server_default="0"),
)

variables = sa.Table(
    "variables",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("app_id", TEXT, _ref("apps.id"), nullable=False),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.UniqueConstraint("app_id", "name"),
)

collaborators = sa.Table(
    "collaborators",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("app_id", TEXT, _ref("apps.id"), nullable=False),
    sa.Column("email", TEXT, nullable=False, index=True),
    sa.Column("user_id", TEXT, _ref("users.id"), index=True),
    sa.Column("is_limited", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", Instant, nullable=False),
    sa.UniqueConstraint("app_id", "email"),
)

# A removed notifier keeps its row, for the delivery log names it.
notifiers = sa.Table(
    "notifiers",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("app_id", TEXT, _ref("apps.id"), nullable=False, index=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("platform", TEXT, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("state", TEXT, nullable=False, server_default="active"),
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
    sa.Column("rate_per_second", sa.Double),
    sa.Column("retry_schedule", sa.JSON(none_as_null=True)),
    sa.Column("expires_after", sa.Integer),
    sa.Column("failing_since", Instant),
    sa.Column("failed_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("trip_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("probe_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("told_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("recovered_at", Instant),
    # The one of an app that mails its owner what is told of the others and none of them gets; clients do not see it.
    sa.Column("is_fallback", sa.Boolean, nullable=False, server_default=sa.false()),
    # Messages are signed with the secret before this one as well, until then.
    sa.Column("previous_secret", sa.Text),
    sa.Column("previous_secret_until", Instant),
    sa.Index("notifiers_until", "held_until", **_only("held_until IS NOT NULL")),
    sa.Index("notifiers_stopped", "id", **_only("state IN ('failing', 'holding', 'disabled') AND removed_at IS NULL")),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("app_id", TEXT, _ref("apps.id"), nullable=False, index=True),
    sa.Column("container_type", TEXT, nullable=False),
    sa.Column("metric", TEXT, nullable=False),
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
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("app_id", TEXT),
    sa.Column("user_id", TEXT),
    sa.Column("type", TEXT, nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("events_by_app", "app_id", "id"),
    sa.Index(
        "events_by_user",
        "user_id",
        "id",
        **_only("app_id IS NULL"),
    ),
    postgresql_partition_by="RANGE (id)",
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("app_id", TEXT, primary_key=True),
    sa.Column("key", TEXT, primary_key=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("event_ids", TEXT, nullable=False),
    sa.Column("created_at", Instant, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# The recorded duty to make one event's deliveries for many notifiers, worked off in steps.
fanouts = sa.Table(
    "fanouts",
    metadata,
    sa.Column("event_id", TEXT, primary_key=True),
    sa.Column("app_id", TEXT, nullable=False),
    sa.Column("notifier_ids", sa.JSON, nullable=False),
    sa.Column("done_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_at", Instant, nullable=False),
)

# What is under way: `pending` and `sending` rows alone. One that is handed over while it is stored, and then sent, pays
# for none of the indexes over pending ones.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("app_id", TEXT, nullable=False),
    sa.Column("event_id", TEXT, nullable=False),
    sa.Column("event_type", TEXT, nullable=False),
    sa.Column("notifier_id", TEXT, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("attempt_count", sa.Integer, nullable=False),
    sa.Column("lost_lease_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_attempt_at", Instant),
    sa.Column("lease_token", TEXT),
    sa.Column("claimed_at", Instant),
    sa.Column("lease_until", Instant),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("replay_of", TEXT),
    sa.Index("deliveries_first", "event_id", "notifier_id", unique=True, **_only("replay_of IS NULL")),
    sa.Index("deliveries_replays", "event_id", "notifier_id", **_only("replay_of IS NOT NULL")),
    sa.Index("deliveries_leased", "lease_until", **_only("state = 'sending'")),
    sa.Index("deliveries_due", "notifier_id", "next_attempt_at", "id", **_only("state = 'pending'")),
    sa.Index(
        "deliveries_due_new", "notifier_id", "next_attempt_at", "id", **_only("state = 'pending' AND attempt_count = 0")
    ),
    sa.Index("deliveries_expiring", "expires_at", **_only("state = 'pending'")),
    sa.Index("deliveries_pending_by_app", "app_id", "id", **_only("state = 'pending'")),
    sa.Index("deliveries_pending_by_notifier", "notifier_id", "id", **_only("state = 'pending'")),
    sqlite_with_rowid=False,
    # Its rows come, change and go all the time: room for changes in place, and vacuumed early and without pauses.
    postgresql_with={
        "fillfactor": 70,
        "autovacuum_vacuum_scale_factor": 0.01,
        "autovacuum_vacuum_cost_delay": 0,
    },
)

# What became of deliveries that are over. A row never changes once it is here.
finished_deliveries = sa.Table(
    "finished_deliveries",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("app_id", TEXT, nullable=False),
    sa.Column("event_id", TEXT, nullable=False),
    sa.Column("event_type", TEXT, nullable=False),
    sa.Column("notifier_id", TEXT, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("reason", TEXT),
    sa.Column("attempt_count", sa.Integer, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("finished_at", Instant, nullable=False),
    sa.Column("replay_of", TEXT),
    sa.Index("finished_by_app", "app_id", "id"),
    sa.Index("finished_by_notifier", "notifier_id", "id"),
    sa.Index("finished_by_event", "event_id", "notifier_id"),
    sa.Index("finished_undelivered", "notifier_id", "event_id", **_only("state <> 'delivered'")),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (id)",
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("delivery_id", TEXT, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("duration_ms", sa.Integer),
    sa.Column("outcome", TEXT, nullable=False),
    sa.Column("reason", TEXT),
    sa.Column("response_status", sa.Integer),
    sa.Column("response_body", sa.Text),
    sa.Column("error", sa.Text),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (delivery_id)",
)

# How many deliveries ended in an hour (whole hours since 1970), and how late those that arrived were (the number of a
# class of `tocsin.tallies`). Triggers on `finished_deliveries` count; `part` is another for each connection that does,
# so that none waits for another.
tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("app_id", TEXT, primary_key=True),
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", TEXT, primary_key=True),
    sa.Column("latency", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("notifier_id", TEXT, primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Index("tallies_by_hour", "hour"),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 70},
)

# Who did what: numbered without a gap, each with its digest over the one before (`tocsin.audit`). No row refers to
# another table, for it outlives what it tells of.
audit_entries = sa.Table(
    "audit_entries",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("actor", TEXT, nullable=False),
    sa.Column("user_id", TEXT),
    sa.Column("username", TEXT),
    sa.Column("token_id", TEXT),
    sa.Column("address", TEXT),
    sa.Column("request_id", TEXT),
    sa.Column("app_id", TEXT),
    sa.Column("action", TEXT, nullable=False),
    sa.Column("object_id", TEXT),
    sa.Column("object_name", TEXT),
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("key_id", TEXT, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    sa.Index("audit_by_app", "app_id", "number", **_only("app_id IS NOT NULL")),
    sqlite_with_rowid=False,
)

# One row: where the chain of audit entries ends. Whoever adds one holds it locked meanwhile.
audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
)

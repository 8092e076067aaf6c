"""The history apart: what is over leaves `deliveries`, and each app counts the changes of its routes."""

import sqlalchemy as sa
from alembic import op

from tocsin.store.schema import TEXT, Instant

revision = "0002"
down_revision = "0001"

# Whoever remembers an app's notifiers and alert rules compares this number; SQLite has one process and needs none.
COUNT_CHANGES = """
CREATE FUNCTION tocsin_count_route_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    UPDATE apps SET routes_version = routes_version + 1 WHERE id = OLD.app_id;
  END IF;
  IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND NEW.app_id <> OLD.app_id) THEN
    UPDATE apps SET routes_version = routes_version + 1 WHERE id = NEW.app_id;
  END IF;
  RETURN NULL;
END $$"""
COUNT_CHANGES_OF = """
CREATE TRIGGER {0}_count_route_change AFTER INSERT OR UPDATE OR DELETE ON {0}
  FOR EACH ROW EXECUTE FUNCTION tocsin_count_route_change()"""

MOVE = """
INSERT INTO finished_deliveries (id, app_id, event_id, event_type, notifier_id, state, reason, attempt_count,
                                 created_at, expires_at, finished_at, replay_of)
SELECT id, app_id, event_id, event_type, notifier_id, state, reason, attempt_count,
       created_at, expires_at, finished_at, replay_of
  FROM deliveries WHERE state NOT IN ('pending', 'sending')"""


def upgrade() -> None:
    is_postgres = op.get_context().dialect.name == "postgresql"
    op.add_column("apps", sa.Column("routes_version", sa.Integer(), server_default="0", nullable=False))
    _make_history()
    if is_postgres:
        op.execute("CREATE TABLE finished_deliveries_default PARTITION OF finished_deliveries DEFAULT")
    op.execute(MOVE)
    op.execute("DELETE FROM deliveries WHERE state NOT IN ('pending', 'sending')")
    _keep_what_is_under_way()
    if is_postgres:
        op.execute(
            "ALTER TABLE deliveries SET "
            "(fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0)"
        )
        op.execute(COUNT_CHANGES)
        for table in ("notifiers", "alerts"):
            op.execute(COUNT_CHANGES_OF.format(table))


def _make_history() -> None:
    op.create_table(
        "finished_deliveries",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("app_id", TEXT, nullable=False),
        sa.Column("event_id", TEXT, nullable=False),
        sa.Column("event_type", TEXT, nullable=False),
        sa.Column("notifier_id", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("finished_at", Instant(), nullable=False),
        sa.Column("replay_of", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("finished_by_app", "finished_deliveries", ["app_id", "id"])
    op.create_index("finished_by_notifier", "finished_deliveries", ["notifier_id", "id"])
    op.create_index("finished_by_event", "finished_deliveries", ["event_id", "notifier_id"])
    op.create_index(
        "finished_undelivered",
        "finished_deliveries",
        ["notifier_id", "event_id"],
        sqlite_where=sa.text("state <> 'delivered'"),
        postgresql_where=sa.text("state <> 'delivered'"),
    )


def _keep_what_is_under_way() -> None:
    for name in ("deliveries_by_app", "deliveries_by_notifier"):
        op.drop_index(name, "deliveries")
    for column in ("reason", "finished_at"):
        # Written out, for a batch would make the table anew.
        op.execute(f"ALTER TABLE deliveries DROP COLUMN {column}")
    for name, columns in (
        ("deliveries_pending_by_app", ["app_id", "id"]),
        ("deliveries_pending_by_notifier", ["notifier_id", "id"]),
    ):
        op.create_index(
            name,
            "deliveries",
            columns,
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )

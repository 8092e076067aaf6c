"""Tallies: triggers count the deliveries that end, hour by hour, from now on."""

import sqlalchemy as sa
from alembic import op

from tocsin.store.schema import TEXT

revision = "0010"
down_revision = "0009"

# As they are in `tocsin.tallies`, in milliseconds.
BOUNDS = (
    *(5, 10, 20, 50, 100, 200, 500),
    *(1_000, 2_000, 5_000, 10_000, 20_000),
    *(60_000, 120_000, 300_000, 900_000, 1_800_000),
    *(3_600_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000),
)

# One writer: one part. Most deliveries arrive at once, so that the first classes are asked for first.
SQLITE_CLASS = " ".join(
    f"WHEN NEW.finished_at - NEW.created_at < {bound * 1000} THEN {number}" for number, bound in enumerate(BOUNDS)
)
SQLITE_TRIGGER = f"""
CREATE TRIGGER finished_deliveries_tally AFTER INSERT ON finished_deliveries BEGIN
  INSERT INTO tallies (app_id, hour, notifier_id, state, latency, part, count)
  VALUES (NEW.app_id, NEW.finished_at / 3600000000, NEW.notifier_id, NEW.state,
          CASE WHEN NEW.state <> 'delivered' THEN 0 {SQLITE_CLASS} ELSE {len(BOUNDS)} END, 0, 1)
  ON CONFLICT DO UPDATE SET count = count + 1;
END"""  # noqa: S608 - made of constants

# Once a statement, however many deliveries it ends. A row is changed by one connection alone, so that no two wait for
# each other; the number of a connection's process comes again only when that one has ended.
POSTGRES_CLASS = ", ".join(f"'{bound} ms'" for bound in BOUNDS)
POSTGRES_FUNCTION = f"""
CREATE FUNCTION tocsin_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO tallies (app_id, hour, notifier_id, state, latency, part, count)
  SELECT app_id, floor(extract(epoch FROM finished_at) / 3600)::int, notifier_id, state,
         CASE WHEN state = 'delivered'
              THEN width_bucket(finished_at - created_at, ARRAY[{POSTGRES_CLASS}]::interval[]) ELSE 0 END,
         pg_backend_pid(), count(*)
    FROM ended GROUP BY 1, 2, 3, 4, 5
  ON CONFLICT (app_id, hour, notifier_id, state, latency, part)
  DO UPDATE SET count = tallies.count + excluded.count;
  RETURN NULL;
END $$"""  # noqa: S608 - made of constants
POSTGRES_TRIGGER = """
CREATE TRIGGER finished_deliveries_tally AFTER INSERT ON finished_deliveries
  REFERENCING NEW TABLE AS ended FOR EACH STATEMENT EXECUTE FUNCTION tocsin_tally()"""


def upgrade() -> None:
    op.create_table(
        "tallies",
        sa.Column("app_id", TEXT, nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("latency", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("notifier_id", TEXT, nullable=False),
        sa.Column("part", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("app_id", "hour", "state", "latency", "notifier_id", "part"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("tallies_by_hour", "tallies", ["hour"])
    if op.get_context().dialect.name == "sqlite":
        op.execute(SQLITE_TRIGGER)
    else:
        op.execute(POSTGRES_FUNCTION)
        op.execute(POSTGRES_TRIGGER)

"""The history's day partitions: made ahead, and dropped whole when nothing in them is kept any longer.

Ids begin with the time they were made, so that a day is a range of ids. What falls outside every day (a clock that was
wrong, rows brought from elsewhere) lies in the default partition until its day is made.
"""

from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from tocsin.ids import first_hex_id, first_uuid7

DAYS_AHEAD = 3
DAY = timedelta(days=1)
# Whoever waits for a table's lock holds up everybody behind it: better to give up at once and come back later.
PATIENCE = ("SET LOCAL lock_timeout = '50ms'", "SET LOCAL statement_timeout = '60s'")

_NAMES = """
SELECT child.relname FROM pg_inherits
  JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
 WHERE pg_inherits.inhparent = CAST(:parent AS regclass)"""


class Parted(msgspec.Struct, frozen=True, kw_only=True):
    """A table in day partitions, by the id in `column`."""

    table: str
    column: str
    prefix: str | None

    def first_id(self, day: datetime) -> str:
        return first_hex_id(day) if self.prefix is None else first_uuid7(self.prefix, day)

    def partition(self, day: datetime) -> str:
        return f"{self.table}_{day:%Y%m%d}"


EVENTS = Parted(table="events", column="id", prefix=None)
FINISHED = Parted(table="finished_deliveries", column="id", prefix="de")
ATTEMPTS = Parted(table="attempts", column="delivery_id", prefix="de")
# A day of events may only go when nothing refers to it any more: deliveries first.
PARTED = (FINISHED, ATTEMPTS, EVENTS)


def find_missing(connection: sa.Connection, now: datetime) -> list[tuple[Parted, datetime]]:
    """The partitions of yesterday, today and some days ahead that are not there."""
    today = _midnight(now)
    days = [today + DAY * number for number in range(-1, DAYS_AHEAD + 1)]
    missing: list[tuple[Parted, datetime]] = []
    for parted in PARTED:
        known = _partitions_of(connection, parted)
        missing.extend((parted, day) for day in days if parted.partition(day) not in known)
    return missing


def add_partition(connection: sa.Connection, parted: Parted, day: datetime) -> None:
    """Make a day's partition, and move into it what the default partition holds of that day. Safe to repeat."""
    name = parted.partition(day)
    if name in _partitions_of(connection, parted):
        return
    first, end = parted.first_id(day), parted.first_id(day + DAY)
    _be_brief(connection)
    connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE {parted.table} INCLUDING ALL)")
    moved = f"DELETE FROM {parted.table}_default WHERE {parted.column} >= '{first}' AND {parted.column} < '{end}'"  # noqa: S608 - names of ours
    connection.exec_driver_sql(f"WITH moved AS ({moved} RETURNING *) INSERT INTO {name} SELECT * FROM moved")  # noqa: S608 - as above
    # Attached rather than made as a partition, which would lock out everybody who reads or writes the table.
    connection.exec_driver_sql(
        f"ALTER TABLE {parted.table} ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')"
    )


def find_past(connection: sa.Connection, before: datetime) -> list[tuple[Parted, datetime]]:
    """The partitions of days that ended before a time, in the order in which they may go."""
    past: list[tuple[Parted, datetime]] = []
    for parted in PARTED:
        for name in sorted(_partitions_of(connection, parted)):
            day = _day_of(parted, name)
            if day is not None and day + DAY <= before:
                past.append((parted, day))
    return past


def drop_partition(connection: sa.Connection, parted: Parted, day: datetime, *, finished_before: datetime) -> bool:
    """Drop a day's partition when nothing in it is kept any longer; answers with whether it went."""
    name = parted.partition(day)
    if name not in _partitions_of(connection, parted):
        return False
    _be_brief(connection)
    first, end = parted.first_id(day), parted.first_id(day + DAY)
    ids = {"first": first, "end": end, "finished_before": finished_before}
    if any(connection.execute(sa.text(question), ids).scalar_one() for question in _KEPT_BY[parted.table]):
        return False
    connection.exec_driver_sql(f"DROP TABLE {name}")
    return True


def prune_default(connection: sa.Connection, finished_before: datetime, limit: int) -> int:
    """Remove some of what lies in no day's partition and is kept no longer; answers with how much went."""
    values = {
        "limit": limit,
        "finished_before": finished_before,
        "event_id": EVENTS.first_id(finished_before),
        "delivery_id": FINISHED.first_id(finished_before),
    }
    return sum(connection.execute(sa.text(statement), values).rowcount for statement in _PRUNE_DEFAULT)


_PRUNE_DEFAULT = (
    """DELETE FROM finished_deliveries_default WHERE id IN (
           SELECT id FROM finished_deliveries_default
            WHERE id < :delivery_id AND finished_at < :finished_before LIMIT :limit)""",
    """DELETE FROM attempts_default WHERE (delivery_id, number) IN (
           SELECT delivery_id, number FROM attempts_default WHERE delivery_id < :delivery_id
              AND NOT EXISTS (SELECT FROM deliveries WHERE deliveries.id = delivery_id)
              AND NOT EXISTS (SELECT FROM finished_deliveries WHERE finished_deliveries.id = delivery_id)
            LIMIT :limit)""",
    """DELETE FROM events_default WHERE id IN (
           SELECT id FROM events_default WHERE id < :event_id
              AND NOT EXISTS (SELECT FROM deliveries WHERE deliveries.event_id = events_default.id)
              AND NOT EXISTS (SELECT FROM finished_deliveries
                               WHERE finished_deliveries.event_id = events_default.id)
              AND NOT EXISTS (SELECT FROM fanouts WHERE fanouts.event_id = events_default.id)
            LIMIT :limit)""",
)


def _exists(table: str, column: str) -> str:
    return f"SELECT EXISTS (SELECT FROM {table} WHERE {column} >= :first AND {column} < :end)"  # noqa: S608 - names of ours


_KEPT_BY: dict[str, tuple[str, ...]] = {
    "finished_deliveries": (
        """SELECT EXISTS (SELECT FROM finished_deliveries
                   WHERE id >= :first AND id < :end AND finished_at >= :finished_before)""",
    ),
    "attempts": (_exists("deliveries", "id"), _exists("finished_deliveries", "id")),
    "events": (
        _exists("deliveries", "event_id"),
        _exists("finished_deliveries", "event_id"),
        _exists("fanouts", "event_id"),
    ),
}


def _be_brief(connection: sa.Connection) -> None:
    for limit in PATIENCE:
        connection.exec_driver_sql(limit)


def _partitions_of(connection: sa.Connection, parted: Parted) -> set[str]:
    return set(connection.execute(sa.text(_NAMES), {"parent": parted.table}).scalars())


def _day_of(parted: Parted, name: str) -> datetime | None:
    digits = name.removeprefix(f"{parted.table}_")
    try:
        return datetime.strptime(f"{digits}+0000", "%Y%m%d%z")
    except ValueError:
        return None  # the default partition, or one of the operator's


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
